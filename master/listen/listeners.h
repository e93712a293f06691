#pragma once

// All sockets that tcpd listens on, by listener, address and slot: opened at start, all or none, and held for
// life, so that a slot that is lost loses no queued client. Master only; slots get copies at their birth.
// Owns the sockets and the files of unix sockets. If the master dies, the slots' copies go on until they
// close them; the files stay. Source: socket(7), unix(7).

#include <cstdint>
#include <string>
#include <vector>

#include "conf/config.h"
#include "daemon/slot/control_message.h"
#include "master/listen/listening_socket.h"
#include "master/listen/steering.h"

namespace tcpd::master {

struct ListeningAddress {
    uint32_t listener =
        0;               // index in Config::listeners; its stable id as well, until a reload can reorder them
    uint32_t index = 0;  // in Listener::listen
    Address address;     // with the port that it got
    std::vector<UniqueFd> sockets;  // by slot; of a unix socket the only one
    SteeredGroup group;             // of TCP
    UnixFile file;                  // of a unix socket

    int socket_of(uint32_t slot) const { return sockets[sockets.size() == 1 ? 0 : slot].get(); }
};

class Listeners {
public:
    static Result<Listeners> open(const conf::Config& config, unsigned slots);
    Listeners(Listeners&&) = default;
    ~Listeners();  // closes, and removes the files that are still ours

    const std::vector<ListeningAddress>& addresses() const { return addresses_; }
    std::vector<slot::BirthListener> describe_listeners() const;
    // In the order of the descriptors that an image finds from slot::kFirstListenFd on.
    std::vector<slot::ListenSocket> describe_sockets() const;
    std::vector<int> sockets_of(uint32_t slot) const;
    Result<void> steer(const std::vector<uint32_t>& slots) const;
    // The kernel takes no more connections once the slots have let go as well.
    void close_sockets();

private:
    Listeners() = default;
    std::vector<ListeningAddress> addresses_;
};

}  // namespace tcpd::master
