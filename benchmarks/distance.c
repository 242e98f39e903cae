/* A relay that puts a server at a distance: what the server says arrives late by a fixed time; what the client says does not.
 *
 *   distance PORT SERVER_PORT DELAY_MS
 *
 * Each connection gets its own connection to the server on loopback. Pieces wait in one queue: all are late by the same time,
 * so they leave in the order in which they came.
 * Build: cc -O2 -o distance distance.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1 << 16, PIECE = 1 << 16 };

struct piece {
    struct piece *next;
    int to, generation;
    long at;
    size_t length;
    char bytes[];
};

static int peer[MOST], is_server_side[MOST], generation[MOST];
static struct piece *first, **last = &first;
static int poller;

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static void watch(int fd) {
    int one = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static void forget(int fd) {
    if (peer[fd] < 0) return;
    int other = peer[fd];
    peer[fd] = peer[other] = -1;
    generation[fd]++, generation[other]++;
    close(fd), close(other);
}

static void write_all(int fd, const char *bytes, size_t length) {
    while (length) {
        ssize_t done = send(fd, bytes, length, MSG_NOSIGNAL);
        if (done <= 0) return;
        bytes += done, length -= done;
    }
}

static void deliver(long until) {
    while (first && first->at <= until) {
        struct piece *piece = first;
        first = piece->next;
        if (!first) last = &first;
        if (generation[piece->to] == piece->generation) {
            if (piece->length) write_all(piece->to, piece->bytes, piece->length);
            else forget(piece->to);
        }
        free(piece);
    }
}

int main(int count, char **words) {
    if (count != 4) return fprintf(stderr, "usage: distance PORT SERVER_PORT DELAY_MS\n"), 2;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    long delay = atol(words[3]) * 1000;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in server = own;
    server.sin_port = htons(atoi(words[2]));
    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&own, sizeof own) || listen(listener, 2048)) return perror("listen"), 1;
    poller = epoll_create1(0);
    memset(peer, -1, sizeof peer);
    watch(listener);
    static char bytes[PIECE];
    for (;;) {
        struct epoll_event events[256];
        long wait = first ? (first->at - now() + 999) / 1000 : -1;
        int ready = epoll_wait(poller, events, 256, first && wait < 0 ? 0 : (int)wait);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int client = accept(listener, 0, 0), upstream = socket(AF_INET, SOCK_STREAM, 0);
                if (client < 0 || client >= MOST || upstream < 0 || upstream >= MOST) continue;
                if (connect(upstream, (struct sockaddr *)&server, sizeof server)) { close(client), close(upstream); continue; }
                peer[client] = upstream, peer[upstream] = client;
                is_server_side[client] = 0, is_server_side[upstream] = 1;
                watch(client), watch(upstream);
                continue;
            }
            if (peer[fd] < 0) continue;
            ssize_t length = recv(fd, bytes, PIECE, MSG_DONTWAIT);
            if (length < 0 && (errno == EAGAIN || errno == EINTR)) continue;
            if (!is_server_side[fd]) {
                if (length <= 0) forget(fd);
                else write_all(peer[fd], bytes, length);
                continue;
            }
            if (length < 0) length = 0;
            struct piece *piece = malloc(sizeof *piece + length);
            piece->next = 0, piece->to = peer[fd], piece->generation = generation[peer[fd]], piece->at = now() + delay, piece->length = length;
            memcpy(piece->bytes, bytes, length);
            *last = piece, last = &piece->next;
            if (!length) epoll_ctl(poller, EPOLL_CTL_DEL, fd, 0);
        }
        deliver(now());
    }
}
