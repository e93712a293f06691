#include "worker/net/dial.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/base/fault_point.h"
#include "daemon/slot/control_message.h"

namespace tcpd::worker {

namespace {

void set_option(int fd, int level, int option, int value) {
    setsockopt(fd, level, option, &value, sizeof value);
}

// Without them the connection works all the same.
void set_options(int fd, bool is_unix, const Keepalive& keepalive) {
    if (is_unix) return;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
    set_keepalive(fd, keepalive);
}

}  // namespace

int Dialer::dial(Connection client, const Address& to, uint32_t server, const Keepalive& keepalive) {
    if (connections_.open_count() >= connection_room_) return EMFILE;
    connections_.take_in_hand(client);
    connections_.journal().publish_dialing();
    const int fd = socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || !connections_.numbers().may_be_connection(fd)) {
        const int error = fd < 0 ? errno : EMFILE;
        if (fd >= slot::kFirstListenFd)
            close(fd);
        else if (fd >= 0)
            Numbers::take_back(fd);
        connections_.journal().publish_idle();
        return error;
    }
    FAULT_POINT(dial_socket_not_published);
    set_options(fd, to.is_unix(), keepalive);
    const Connection c = connections_.publish_dialled(fd, make_record(client, to, server), client);
    ++connections_.memory().counters().upstream_dials;
    FAULT_POINT(dial_published_not_connected);
    const int result = connect(fd, to.get(), to.length());
    if (result != 0 && errno != EINPROGRESS && errno != EINTR) {
        const int error = errno;
        connections_.end_dial(c);
        return error;
    }
    FAULT_POINT(dial_connecting);
    connections_.watch(c);
    return 0;
}

// What it tells of a failure it tells once, and no event will.
int Dialer::resume(Connection dialled, const Address& to) {
    const int error = connect(dialled.fd(), to.get(), to.length()) == 0 ? 0 : errno;
    if (error != 0 && error != EINPROGRESS && error != EALREADY && error != EISCONN && error != EINTR) {
        return error;
    }
    connections_.rewatch(dialled);
    connections_.arm(dialled);
    return 0;
}

slot::Record Dialer::make_record(Connection client, const Address& to, uint32_t server) const {
    slot::Record record{};
    slot::RecordWord word;
    word.state = slot::State::dialing;
    word.kind = to.is_unix() ? slot::Kind::dialled_unix : slot::Kind::dialled_tcp;
    record.word = word.pack();
    record.id = client->id;
    record.peer = client.tag();
    record.owner = client->owner;
    record.server = server;
    record.opened_ns = connections_.now_ns();
    record.active_tick = record.input_tick = record.progress_tick = record.ended_tick = connections_.now();
    return record;
}

}  // namespace tcpd::worker
