#pragma once

// All sockets that tcpd listens on, by address and slot: opened at start, all or none, and held for life or
// until a reload gives them up, so that a slot that is lost loses no queued client. Master only; slots get
// copies at their birth. Owns the sockets and the files of unix sockets. A change by a reload comes in two
// steps: `prepare` opens what is new beside what is there, then `commit` lets go of what is no longer wanted,
// or `abandon` of what was new. If the master dies, the slots' copies go on until they close them; the files
// stay. Source: socket(7), unix(7).

#include <cstdint>
#include <string>
#include <vector>

#include "conf/config.h"
#include "daemon/slot/control_message.h"
#include "master/listen/inherited.h"
#include "master/listen/listening_socket.h"
#include "master/listen/roster.h"
#include "master/listen/steering.h"

namespace tcpd::master {

struct MasterState;

struct ListeningAddress {
    uint32_t listener = 0;  // index in Config::listeners
    uint32_t index = 0;     // in Listener::listen
    std::string wanted;  // as the configuration has it, port 0 included; of a name's several sockets, which
    Address address;     // with the port that it got
    int passed = -1;     // of an inherited socket: which; borrowed
    std::vector<UniqueFd> sockets;  // by slot; of a shared one the only one
    SteeredGroup group;             // of TCP
    UnixFile file;                  // of a unix socket
    uint32_t id = 0;                // stable, of its listener in force
    // As of the change that is prepared.
    uint32_t next_id = 0, next_listener = 0, next_index = 0;
    bool is_new = false;      // opened for it
    bool is_leaving = false;  // it has no use for this one

    bool is_inherited() const { return passed >= 0; }
    bool is_shared() const { return address.is_unix() || is_inherited(); }
    // -1: the slot has none.
    int socket_of(uint32_t slot) const {
        const size_t at = is_shared() ? 0 : slot;
        return at < sockets.size() ? sockets[at].get() : -1;
    }
};

// Of which configuration: the one in force, or the one that a change brings.
enum class Side : uint8_t { in_force, prepared };

class Listeners {
public:
    static Result<Listeners> open(const conf::Config& config, unsigned slots,
                                  InheritedSockets inherited = {});
    // Over an exec of this process; `config`: in force.
    void save(MasterState& state) const;
    static Result<Listeners> take_over(const MasterState& state, const conf::Config& config);
    Listeners(Listeners&&) = default;
    ~Listeners();  // closes, and removes the files that are still ours

    const std::vector<ListeningAddress>& addresses() const { return addresses_; }
    // An Error leaves everything as it was.
    Result<void> prepare(const conf::Config& config, const Roster& roster);
    void commit(const conf::Config& config);
    void abandon(const conf::Config& in_force);

    // In the order of the descriptors that an image finds from slot::kFirstListenFd on.
    std::vector<slot::ListenSocket> describe_sockets(uint32_t slot, Side side) const;
    std::vector<int> sockets_of(uint32_t slot, Side side) const;
    // `slots`: in service, and of those the ones that serve the prepared change already. `loads` matter where
    // it is not least connections that steers.
    Result<void> steer(const std::vector<uint32_t>& slots, const std::vector<uint32_t>& changed,
                       const Loads& loads);
    // Steers by least connections, counted in this map (make_counts_map; borrowed); -1, as at first: at
    // random.
    void count_in(int counts_map) { least_.count_in(counts_map); }
    bool steers_by_least() const { return least_.is_on(); }
    // Ahead of open_slot and of a `steer`, so that a slot gets no connection before it serves.
    void expect_slot();
    // Sockets for a slot that is new, or whose own were closed; `config`: in force.
    Result<void> open_slot(uint32_t slot, const conf::Config& config);
    // Once no image of the slot has them.
    void close_slot(uint32_t slot);
    // After close_sockets: unix sockets anew, and a look whether the TCP addresses are still to be had; their
    // sockets come with open_slot. An Error leaves all closed.
    Result<void> open_again(const conf::Config& config);
    // The kernel takes no more connections once the slots have let go as well.
    void close_sockets();

private:
    Listeners() = default;
    struct Wanted {
        std::string text;
        Address address;
        int passed = -1;
    };
    // Of one entry of `listen`.
    Result<std::vector<Wanted>> wanted_of(const Address& entry) const;
    Result<void> check_passed(const conf::Config& config) const;
    Result<void> open_first(const conf::Config& config, uint32_t listener, uint32_t index);
    Result<void> claim(const conf::Listener& listener, const Wanted& wanted, const ListeningAddress& place);
    Result<void> claim_all(const conf::Config& config, const Roster& roster);
    Result<void> open_new(const conf::Listener& listener, ListeningAddress fresh);
    ListeningAddress* find_unclaimed(const std::string& wanted, const std::string& name);
    bool holds_port(uint16_t port) const;
    void forget_new();
    Result<void> steer_group(SteeredGroup& group, const std::vector<uint32_t>& slots, const Loads& loads);
    bool is_given(const ListeningAddress& opened, uint32_t slot, Side side) const;
    LeastConnections least_;  // the groups of addresses have rows in it
    std::vector<ListeningAddress> addresses_;
    std::vector<std::string> names_;  // of listeners in force, by index
    std::vector<uint32_t> slots_;     // that have sockets
    InheritedSockets inherited_;
};

}  // namespace tcpd::master
