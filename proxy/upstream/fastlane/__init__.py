"""The fast lane: plain exchanges with the mirror's own origin on lean keep-alive connections."""

from proxy.upstream.fastlane.lane import FastLane
from proxy.upstream.fastlane.sharing import Sharing
from proxy.upstream.fastlane.words import Exchange, Unusual

__all__ = ["Exchange", "FastLane", "Sharing", "Unusual"]
