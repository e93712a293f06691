#pragma once

// One listening socket, as a listener of the configuration wants it. Master only. What accepted sockets
// inherit is set here: no delay, urgent bytes in line, keep-alive and its limits. A TCP address has a socket
// for each slot (SO_REUSEPORT); probed first without, so that another program's is noticed and not joined. A
// unix socket is one for all slots; a stale file is replaced, a live one is in use. If the master dies in here,
// it is as in socket_file.h. Source: socket(7), tcp(7), unix(7), ip(7).

#include <cstdint>
#include <string>

#include "conf/config.h"
#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "master/listen/socket_file.h"

namespace tcpd::master {

// Of a start, whose predecessor may be about to let go; of a reload there is none.
enum class Patience : uint8_t { none, two_seconds };
// That nobody listens on a TCP address.
Result<void> probe(const conf::Listener& listener, const Address& address, Patience patience);

// Bound with SO_REUSEPORT and listening. Port 0: `address` is told which one it became.
Result<UniqueFd> listen_tcp(const conf::Listener& listener, Address& address);

struct UnixListener {
    UniqueFd socket;
    UnixFile file;
};

Result<UnixListener> listen_unix(const conf::Listener& listener, const Address& address, Patience patience);

// Gives a socket that listens the backlog, the keep-alive and the rights of its file that `listener` has now.
Result<void> adjust(const conf::Listener& listener, int fd, const UnixFile& file);
// Of a passed socket; of others the configuration's check says it.
void say_cut_backlog(const conf::Listener& listener, int passed);
// A copy of one that listens already, with what accepted sockets are to inherit.
Result<UniqueFd> listen_inherited(const conf::Listener& listener, int passed);

}  // namespace tcpd::master
