/* The measure for probing: what a plain C client on epoll needs for HEADs of distinct files.
 *
 *   probes HOST PORT CONNECTIONS COUNT head|range|tls-head|tls-range [AUTHORITIES.pem]
 *
 * asks for /files/00000.whl and so on over keep-alive connections, one request at a time on each, and prints
 * "WALL_US CPU_US GOOD": microseconds passed, microseconds of its own processor time, answers with a status of 200 or 206.
 * The address is a numeric one. Build: cc -O2 -o probes probes.c -lssl -lcrypto
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 16384 };

struct connection {
    int fd;
    SSL *ssl;
    int ready;
    size_t filled;
    char answer[ROOM];
};

static const char *host;
static int count, asked, answered, good, ranged, epoll;
static SSL_CTX *tls;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static long micros(clockid_t which) {
    struct timespec now;
    clock_gettime(which, &now);
    return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

static void ask(struct connection *c) {
    char request[512];
    if (asked == count) return;
    int length = snprintf(request, sizeof request,
                          "%s /files/%05d.whl HTTP/1.1\r\nHost: %s\r\nUser-Agent: probes\r\nAccept-Encoding: identity\r\n%s\r\n",
                          ranged ? "GET" : "HEAD", asked++, host, ranged ? "Range: bytes=0-0\r\n" : "");
    int sent = c->ssl ? SSL_write(c->ssl, request, length) : (int)send(c->fd, request, length, MSG_NOSIGNAL);
    if (sent != length) die("send");
    c->filled = 0;
}

/* Gives whether the answer is there to its end: the head, and for a range the one byte of its body. */
static int whole(struct connection *c) {
    char *end = memmem(c->answer, c->filled, "\r\n\r\n", 4);
    return end && (!ranged || c->filled >= (size_t)(end - c->answer) + 5);
}

static void on_event(struct connection *c) {
    if (!c->ready) {
        if (c->ssl) {
            int done = SSL_do_handshake(c->ssl);
            if (done != 1) {
                int why = SSL_get_error(c->ssl, done);
                if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return;
                die("handshake");
            }
        }
        c->ready = 1;
        struct epoll_event only_read = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &only_read);
        ask(c);
        return;
    }
    for (;;) {
        int got = c->ssl ? SSL_read(c->ssl, c->answer + c->filled, ROOM - c->filled)
                         : (int)recv(c->fd, c->answer + c->filled, ROOM - c->filled, 0);
        if (got <= 0) {
            int again = c->ssl ? SSL_get_error(c->ssl, got) == SSL_ERROR_WANT_READ : got < 0 && errno == EAGAIN;
            if (again) return;
            die("receive");
        }
        c->filled += got;
        if (whole(c)) {
            answered++;
            good += !memcmp(c->answer, "HTTP/1.1 200", 12) || !memcmp(c->answer, "HTTP/1.1 206", 12);
            ask(c);
            return;
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 6) return fprintf(stderr, "probes HOST PORT CONNECTIONS COUNT head|range|tls-head|tls-range [PEM]\n"), 2;
    host = argv[1];
    int connections = atoi(argv[3]);
    count = atoi(argv[4]);
    ranged = strstr(argv[5], "range") != NULL;

    long wall = micros(CLOCK_MONOTONIC);
    if (strstr(argv[5], "tls")) {
        tls = SSL_CTX_new(TLS_client_method());
        if (argc > 6) {
            SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
            if (SSL_CTX_load_verify_locations(tls, argv[6], NULL) != 1) die("authorities");
        }
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die("address");
    epoll = epoll_create1(0);
    struct connection *all = calloc(connections, sizeof *all);
    for (struct connection *c = all; c < all + connections; c++) {
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        int one = 1;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) die("connect");
        if (tls) {
            c->ssl = SSL_new(tls);
            SSL_set_fd(c->ssl, c->fd);
            X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), host);
            SSL_set_connect_state(c->ssl);
        }
        struct epoll_event both = {.events = tls ? EPOLLIN | EPOLLOUT | EPOLLET : EPOLLOUT, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &both);
    }
    struct epoll_event events[256];
    while (answered < count) {
        int n = epoll_wait(epoll, events, 256, 10000);
        if (n <= 0) die("nothing came");
        for (int i = 0; i < n; i++) on_event(events[i].data.ptr);
    }
    wall = micros(CLOCK_MONOTONIC) - wall;
    printf("%ld %ld %d\n", wall, micros(CLOCK_PROCESS_CPUTIME_ID), good);
    return good != count;
}
