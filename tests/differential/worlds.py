"""A dozen small worlds of the kinds that resolvers are tried on, with invented names; they run where packse's are not here."""

from tests.differential.scenarios import Scenario

_WORLDS = (
    # The newest `harbor` wants a package that exists nowhere: the resolver has to go back.
    """
    name = "goes-back-over-a-missing-package"
    root = { requires = ["harbor", "lantern"] }
    [packages.harbor.versions]
    "3.0" = { requires = ["nowhere"] }
    "2.0" = { requires = ["lantern<2"] }
    "1.0" = {}
    [packages.lantern.versions]
    "2.0" = {}
    "1.5" = { requires = ["harbor>1"] }
    """,
    """
    name = "asks-for-what-is-not-there"
    root = { requires = ["harbor==4.0"] }
    [packages.harbor.versions]
    "1.0" = {}
    "2.0" = {}
    """,
    """
    name = "excludes-a-range"
    root = { requires = ["harbor!=2.0,!=1.*", "lantern"] }
    [packages.harbor.versions]
    "0.9" = {}
    "1.1" = {}
    "2.0" = {}
    [packages.lantern.versions]
    "1.0" = { requires = ["harbor<2"] }
    """,
    """
    name = "follows-extras-of-extras"
    root = { requires = ["harbor[all]"] }
    [packages.harbor.versions."1.0".extras]
    all = ["harbor[crane]", "harbor[tug]"]
    crane = ["crane>=1"]
    tug = ["tug ; sys_platform == 'linux'"]
    [packages.crane.versions]
    "1.0" = {}
    [packages.tug.versions]
    "1.0" = {}
    "2.0" = { requires = ["crane<1"] }
    """,
    """
    name = "forks-by-platform"
    root = { requires = ["harbor>=2 ; sys_platform == 'linux'", "harbor<2 ; sys_platform == 'darwin'"], requires_python = ">=3.10" }
    resolver_options = { universal = true }
    [packages.harbor.versions]
    "1.0" = { requires = ["crane ; sys_platform == 'darwin'"] }
    "2.0" = { requires = ["crane<2 ; sys_platform == 'linux'"] }
    [packages.crane.versions]
    "1.0" = {}
    "2.0" = {}
    """,
    """
    name = "cannot-agree"
    root = { requires = ["harbor", "lantern"] }
    [packages.harbor.versions]
    "1.0" = { requires = ["crane==1.0"] }
    [packages.lantern.versions]
    "1.0" = { requires = ["crane==2.0"] }
    [packages.crane.versions]
    "1.0" = {}
    "2.0" = {}
    """,
    """
    name = "takes-a-local-version"
    root = { requires = ["harbor", "lantern==1.2.3"] }
    [packages.harbor.versions]
    "1.0" = { requires = ["lantern>=1.2.3"] }
    [packages.lantern.versions]
    "1.2.3+fog" = { sdist = false }
    "1.2.3+sun" = {}
    "1.2.3" = { wheel = false }
    """,
    """
    name = "tells-post-releases-apart"
    root = { requires = ["harbor>1.0", "lantern>=1.0"] }
    [packages.harbor.versions]
    "1.0.post1" = {}
    "1.1" = {}
    [packages.lantern.versions]
    "1.0.post3" = {}
    """,
    """
    name = "takes-pre-releases-where-nothing-else-is"
    root = { requires = ["harbor", "lantern>=2.0a1"] }
    [packages.harbor.versions]
    "1.0a1" = {}
    "1.0rc2" = {}
    [packages.lantern.versions]
    "1.0" = {}
    "2.0b1" = {}
    """,
    """
    name = "heeds-requires-python"
    root = { requires = ["harbor"], requires_python = ">=3.9" }
    environment = { python = "3.9" }
    resolver_options = { universal = true }
    [packages.harbor.versions]
    "1.0" = { requires_python = ">=3.8" }
    "2.0" = { requires_python = ">=3.10" }
    "3.0" = { requires_python = ">=4" }
    """,
    """
    name = "leaves-wheels-out-that-no-marker-reaches"
    root = { requires = ["harbor ; sys_platform == 'win32'", "lantern"] }
    resolver_options = { universal = true }
    [packages.harbor.versions."1.0"]
    wheel_tags = ["cp312-cp312-win_amd64", "cp312-cp312-manylinux_2_17_x86_64", "cp312-cp312-macosx_14_0_x86_64"]
    [packages.lantern.versions."1.0"]
    wheel_tags = ["py3-none-any", "cp311-abi3-musllinux_1_2_aarch64"]
    """,
    """
    name = "has-no-wheel-that-fits"
    root = { requires = ["harbor", "lantern"] }
    resolver_options = { python_platform = "x86_64-manylinux2014", no_build = ["lantern"] }
    [packages.harbor.versions]
    "1.0" = { wheel_tags = ["cp38-cp38-macosx_10_9_x86_64"] }
    "2.0" = { wheel_tags = ["cp38-cp38-macosx_10_9_x86_64"], sdist = false }
    [packages.lantern.versions]
    "1.0" = {}
    "2.0" = { wheel = false }
    """,
    """
    name = "passes-over-yanked-releases"
    root = { requires = ["harbor", "lantern==1.0", "crane"] }
    [packages.harbor.versions]
    "1.0" = {}
    "2.0" = { yanked = "it leaks" }
    [packages.lantern.versions]
    "1.0" = { yanked = true }
    [packages.crane.versions]
    "1.0" = { requires = ["harbor!=1.0"] }
    "0.9" = {}
    """,
    """
    name = "has-only-yanked-releases"
    root = { requires = ["harbor"] }
    [packages.harbor.versions]
    "1.0" = { yanked = true }
    """,
)

WORLDS = tuple(map(Scenario.read, _WORLDS))
