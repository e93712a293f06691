#include "master/listen/listeners.h"

#include <sys/socket.h>

#include <fmt/format.h>
#include <algorithm>

#include "conf/check.h"
#include "conf/grammar.h"
#include "daemon/base/log.h"
#include "daemon/base/net/families.h"
#include "master/reexec/state.h"

namespace tcpd::master {

namespace {

static_assert(conf::kMaxAddresses <= slot::kMaxBirthSockets);

Result<void> open_tcp(const conf::Listener& listener, uint32_t slot, ListeningAddress& opened) {
    if (opened.sockets.size() <= slot) opened.sockets.resize(slot + 1);
    auto socket = listen_tcp(listener, opened.address);
    if (!socket) return std::move(socket.error());
    opened.group.add(slot, socket->get());
    opened.sockets[slot] = std::move(*socket);
    return {};
}

Result<void> open_address(const conf::Listener& listener, const std::vector<uint32_t>& slots,
                          ListeningAddress& opened, Patience patience) {
    if (!opened.is_shared()) {
        for (const uint32_t slot : slots) {
            if (auto done = open_tcp(listener, slot, opened); !done) return done;
        }
        return {};
    }
    opened.sockets.clear();
    if (opened.is_inherited()) {
        auto copy = listen_inherited(listener, opened.passed);
        if (!copy) return std::move(copy.error());
        opened.sockets.push_back(std::move(*copy));
        return {};
    }
    auto made = listen_unix(listener, opened.address, patience);
    if (!made) return std::move(made.error());
    opened.sockets.push_back(std::move(made->socket));
    opened.file = std::move(made->file);
    return {};
}

bool contains(const std::vector<uint32_t>& list, uint32_t item) {
    return std::find(list.begin(), list.end(), item) != list.end();
}

// What a reload may change about a socket that stays.
void apply_options(const conf::Listener& listener, const ListeningAddress& opened) {
    for (const UniqueFd& socket : opened.sockets) {
        if (!socket) continue;
        auto done = adjust(listener, socket.get(), opened.file);
        if (!done) log::error("{}", done.error().text());
        if (opened.is_inherited()) say_cut_backlog(listener, socket.get());
    }
}

// A cleaner of temporary files took the socket's file, or somebody put another in its place: nobody can connect.
bool is_lost(const ListeningAddress& opened) {
    return !opened.file.path.empty() && !is_in_place(opened.file);
}

// Images that are about to exit may still hold copies. An inherited socket is not ours alone.
void close_for_all(const ListeningAddress& opened) {
    if (opened.is_inherited()) return;
    remove_file(opened.file);
    for (const UniqueFd& socket : opened.sockets) {
        if (socket) ::shutdown(socket.get(), SHUT_RDWR);
    }
}

// Of the two that *:PORT stands for, one that this machine lacks, while it has the other.
bool is_lacking(const Address& entry) {
    if (!entry.is_of_star()) return false;
    const int other = entry.family() == AF_INET6 ? AF_INET : AF_INET6;
    return !machine_has(entry.family()) && machine_has(other);
}

// The same of one that was opened.
bool is_lacking(const conf::Config& config, const ListeningAddress& opened) {
    const std::vector<Address>& listen = config.listeners[opened.listener].listen;
    return opened.index < listen.size() && is_lacking(listen[opened.index]);
}

void say_left_out(const conf::Listener& listener, const Address& address) {
    log::info("listener \"{}\" goes without {}: this machine has no IPv{}", listener.name, address.text(),
              address.family() == AF_INET6 ? '6' : '4');
}

std::vector<std::string> names_of(const conf::Config& config) {
    std::vector<std::string> names;
    for (const conf::Listener& listener : config.listeners) names.push_back(listener.name);
    return names;
}

}  // namespace

Result<std::vector<Listeners::Wanted>> Listeners::wanted_of(const Address& entry) const {
    std::vector<Wanted> list;
    if (!entry.is_inherited()) {
        list.push_back({entry.text(), entry});
        return list;
    }
    auto passed = inherited_.named(entry.inherited_name());
    if (!passed) return std::move(passed.error());
    for (const int fd : *passed) {
        auto address = Address::of_socket(fd);
        if (!address) return std::move(address.error());
        list.push_back({fmt::format("{}/{}", entry.text(), list.size()), *address, fd});
    }
    return list;
}

// What their names do not show: whether clients have addresses, where a listener goes by these.
Result<void> Listeners::check_passed(const conf::Config& config) const {
    for (const conf::Listener& listener : config.listeners) {
        const auto keys = conf::keys_by_address(listener);
        if (keys.empty() || std::none_of(listener.listen.begin(), listener.listen.end(),
                                         [](const Address& entry) { return entry.is_inherited(); }))
            continue;
        size_t sockets = 0, unix_sockets = 0;
        for (const Address& entry : listener.listen) {
            auto wanted = wanted_of(entry);
            if (!wanted) return std::move(wanted.error());
            sockets += wanted->size();
            for (const Wanted& one : *wanted) unix_sockets += one.address.is_unix() ? 1 : 0;
        }
        if (unix_sockets == 0) continue;
        const std::string key = fmt::format("listeners.{}.{}", listener.name, keys.front());
        if (unix_sockets == sockets)
            return Error{.code = ErrorCode::bad_config,
                         .reason = fmt::format("{}: {}", key, conf::kNoAddresses)};
        log::warn("{}: {}", key, conf::kSomeNoAddresses);
    }
    return {};
}

Result<void> Listeners::open_first(const conf::Config& config, uint32_t listener, uint32_t index) {
    const conf::Listener& stanza = config.listeners[listener];
    if (is_lacking(stanza.listen[index])) {
        say_left_out(stanza, stanza.listen[index]);
        return {};
    }
    auto wanted = wanted_of(stanza.listen[index]);
    if (!wanted) return std::move(wanted.error());
    for (Wanted& one : *wanted) {
        ListeningAddress opened{.listener = listener,
                                .index = index,
                                .wanted = std::move(one.text),
                                .address = one.address,
                                .passed = one.passed,
                                .id = listener};
        if (!opened.is_inherited() && opened.address.port() != 0) {
            if (auto free = probe(stanza, opened.address, Patience::two_seconds); !free) return free;
        }
        if (auto done = open_address(stanza, slots_, opened, Patience::two_seconds); !done) return done;
        addresses_.push_back(std::move(opened));
    }
    return {};
}

Result<Listeners> Listeners::open(const conf::Config& config, unsigned slots, InheritedSockets inherited) {
    Listeners all;
    all.names_ = names_of(config);
    all.inherited_ = std::move(inherited);
    if (auto fine = all.check_passed(config); !fine) return std::move(fine.error());
    for (uint32_t slot = 0; slot < slots; ++slot) all.slots_.push_back(slot);
    for (uint32_t i = 0; i < config.listeners.size(); ++i) {
        for (uint32_t k = 0; k < config.listeners[i].listen.size(); ++k) {
            if (auto done = all.open_first(config, i, k); !done) return std::move(done.error());
        }
    }
    return all;
}

Listeners::~Listeners() {
    for (const ListeningAddress& opened : addresses_) remove_file(opened.file);
}

// -- change

// Several listeners may ask for port 0: each gets back its own, if it is still there.
ListeningAddress* Listeners::find_unclaimed(const std::string& wanted, const std::string& name) {
    ListeningAddress* found = nullptr;
    for (ListeningAddress& opened : addresses_) {
        if (!opened.is_leaving || opened.is_new || opened.wanted != wanted) continue;
        if (names_[opened.listener] == name) return &opened;
        if (found == nullptr) found = &opened;
    }
    return found;
}

// Our own socket would fail the probe for an address that overlaps it.
bool Listeners::holds_port(uint16_t port) const {
    return std::any_of(addresses_.begin(), addresses_.end(),
                       [port](const ListeningAddress& opened) { return opened.address.port() == port; });
}

Result<void> Listeners::open_new(const conf::Listener& listener, ListeningAddress fresh) {
    fresh.is_new = true;
    const uint16_t port = fresh.address.port();
    if (!fresh.is_inherited() && port != 0 && !holds_port(port)) {
        if (auto free = probe(listener, fresh.address, Patience::none); !free) return free;
    }
    if (auto done = open_address(listener, slots_, fresh, Patience::none); !done) return done;
    addresses_.push_back(std::move(fresh));
    return {};
}

// `place`: where it stands in the new configuration.
Result<void> Listeners::claim(const conf::Listener& listener, const Wanted& wanted,
                              const ListeningAddress& place) {
    ListeningAddress* const kept = find_unclaimed(wanted.text, listener.name);
    if (kept != nullptr && is_lost(*kept)) {
        log::warn("{} no longer leads to the socket of listener \"{}\": it is bound anew", wanted.text,
                  listener.name);
    } else if (kept != nullptr) {
        kept->is_leaving = false;
        kept->next_id = place.next_id;
        kept->next_listener = place.next_listener;
        kept->next_index = place.next_index;
        return {};
    }
    if (is_lacking(wanted.address)) {
        say_left_out(listener, wanted.address);
        return {};
    }
    return open_new(listener, {.wanted = wanted.text,
                               .address = wanted.address,
                               .passed = wanted.passed,
                               .next_id = place.next_id,
                               .next_listener = place.next_listener,
                               .next_index = place.next_index});
}

Result<void> Listeners::claim_all(const conf::Config& config, const Roster& roster) {
    for (uint32_t i = 0; i < config.listeners.size(); ++i) {
        const conf::Listener& listener = config.listeners[i];
        for (uint32_t k = 0; k < listener.listen.size(); ++k) {
            const ListeningAddress place{.next_id = id_of(roster, i), .next_listener = i, .next_index = k};
            auto wanted = wanted_of(listener.listen[k]);
            if (!wanted) return std::move(wanted.error());
            for (const Wanted& one : *wanted) {
                if (auto done = claim(listener, one, place); !done) return done;
            }
        }
    }
    return {};
}

Result<void> Listeners::prepare(const conf::Config& config, const Roster& roster) {
    if (auto fine = check_passed(config); !fine) return fine;
    for (ListeningAddress& opened : addresses_) opened.is_leaving = true;
    auto done = claim_all(config, roster);
    if (!done) {
        forget_new();
        return done;
    }
    for (const ListeningAddress& opened : addresses_) {
        if (!opened.is_leaving && !opened.is_new) {
            apply_options(config.listeners[opened.next_listener], opened);
        }
    }
    return {};
}

void Listeners::forget_new() {
    for (ListeningAddress& opened : addresses_) {
        opened.is_leaving = false;
        if (opened.is_new) remove_file(opened.file);
    }
    std::erase_if(addresses_, [](const ListeningAddress& opened) { return opened.is_new; });
}

void Listeners::commit(const conf::Config& config) {
    for (ListeningAddress& opened : addresses_) {
        if (opened.is_leaving) close_for_all(opened);
        opened.is_new = false;
        opened.id = opened.next_id;
        opened.listener = opened.next_listener;
        opened.index = opened.next_index;
    }
    std::erase_if(addresses_, [](const ListeningAddress& opened) { return opened.is_leaving; });
    names_ = names_of(config);
}

void Listeners::abandon(const conf::Config& in_force) {
    forget_new();
    for (const ListeningAddress& opened : addresses_)
        apply_options(in_force.listeners[opened.listener], opened);
}

// -- over an exec

void Listeners::save(MasterState& state) const {
    state.listen_slots = slots_;
    state.group_tables = least_.save();
    for (const ListeningAddress& opened : addresses_) {
        SavedAddress saved{.listener = opened.listener,
                           .index = opened.index,
                           .id = opened.id,
                           .wanted = opened.wanted,
                           .address = opened.address.text(),
                           .sockets = {},
                           .group_slots = opened.group.slots(),
                           .file = opened.file,
                           .passed = opened.passed,
                           .group_table = least_.number_of(opened.group.row()),
                           .group_row = opened.group.row().number()};
        for (const UniqueFd& socket : opened.sockets) saved.sockets.push_back(socket.get());
        state.addresses.push_back(std::move(saved));
    }
    for (const InheritedSocket& socket : inherited_.all()) {
        state.inherited.push_back({socket.name, socket.fd.get()});
    }
}

// All that may fail comes first: what is taken over is closed and removed at the end of its owner.
Result<Listeners> Listeners::take_over(const MasterState& state, const conf::Config& config) {
    std::vector<Address> bound;
    for (const SavedAddress& saved : state.addresses) {
        auto address =
            saved.passed >= 0 ? Address::of_socket(saved.passed) : Address::parse(saved.address, true);
        if (!address) return std::move(address.error());
        bound.push_back(std::move(*address));
    }
    Listeners all;
    all.names_ = names_of(config);
    all.slots_ = state.listen_slots;
    all.least_.take_over(state.group_tables);
    std::vector<InheritedSocket> inherited;
    for (const SavedInherited& saved : state.inherited) {
        inherited.push_back({saved.name, UniqueFd(saved.fd)});
    }
    all.inherited_ = InheritedSockets(std::move(inherited));
    for (size_t i = 0; i < bound.size(); ++i) {
        const SavedAddress& saved = state.addresses[i];
        ListeningAddress opened{.listener = saved.listener,
                                .index = saved.index,
                                .wanted = saved.wanted,
                                .address = bound[i],
                                .passed = saved.passed,
                                .file = saved.file,
                                .id = saved.id};
        for (const int fd : saved.sockets) opened.sockets.emplace_back(fd);
        for (const uint32_t slot : saved.group_slots) {
            if (slot < opened.sockets.size()) opened.group.add(slot, opened.sockets[slot].get());
        }
        if (!saved.group_slots.empty()) {
            opened.group.take_over(all.least_.take_over_row(saved.group_table, saved.group_row,
                                                            opened.socket_of(saved.group_slots.front())));
        }
        all.addresses_.push_back(std::move(opened));
    }
    return all;
}

// -- for images

bool Listeners::is_given(const ListeningAddress& opened, uint32_t slot, Side side) const {
    return opened.socket_of(slot) >= 0 && (side == Side::prepared || !opened.is_new);
}

std::vector<slot::ListenSocket> Listeners::describe_sockets(uint32_t slot, Side side) const {
    std::vector<slot::ListenSocket> list;
    int fd = slot::kFirstListenFd;
    for (const ListeningAddress& opened : addresses_) {
        if (!is_given(opened, slot, side)) continue;
        const bool closing = side == Side::prepared && opened.is_leaving;
        const bool by_next_id = side == Side::prepared && !opened.is_leaving;
        list.push_back({.listener_id = by_next_id ? opened.next_id : opened.id,
                        .fd = fd++,
                        .is_unix = opened.address.is_unix() ? 1U : 0U,
                        .is_shared = opened.is_shared() ? 1U : 0U,
                        .closing = closing ? 1U : 0U});
    }
    return list;
}

std::vector<int> Listeners::sockets_of(uint32_t slot, Side side) const {
    std::vector<int> sockets;
    for (const ListeningAddress& opened : addresses_) {
        if (is_given(opened, slot, side)) sockets.push_back(opened.socket_of(slot));
    }
    return sockets;
}

Result<void> Listeners::steer_group(SteeredGroup& group, const std::vector<uint32_t>& slots,
                                    const Loads& loads) {
    if (least_.is_on()) {
        auto done = group.steer_to_least(slots, least_);
        if (done) return done;
        log::warn("{}; connections are spread at random from now on", done.error().text());
        least_.count_in(-1);
    }
    return group.steer_at_random(slots, loads);
}

// What is new is accepted from by those that have changed already, what is leaving by those that have not.
Result<void> Listeners::steer(const std::vector<uint32_t>& slots, const std::vector<uint32_t>& changed,
                              const Loads& loads) {
    least_.expect(addresses_.size());
    std::vector<uint32_t> renewed, left;
    for (const uint32_t slot : slots) (contains(changed, slot) ? renewed : left).push_back(slot);
    for (ListeningAddress& opened : addresses_) {
        const std::vector<uint32_t>& to = opened.is_new ? renewed : opened.is_leaving ? left : slots;
        if (auto done = steer_group(opened.group, to, loads); !done) return done;
    }
    return {};
}

void Listeners::expect_slot() {
    for (ListeningAddress& opened : addresses_) opened.group.expect_another();
}

Result<void> Listeners::open_slot(uint32_t slot, const conf::Config& config) {
    if (contains(slots_, slot)) return {};
    slots_.push_back(slot);
    for (ListeningAddress& opened : addresses_) {
        if (opened.is_shared()) continue;
        const conf::Listener& listener = config.listeners[opened.listener];
        auto done = open_tcp(listener, slot, opened);
        if (!done && is_lacking(config, opened)) {
            say_left_out(listener, opened.address);
            continue;
        }
        if (!done) {
            close_slot(slot);
            return done;
        }
    }
    return {};
}

void Listeners::close_slot(uint32_t slot) {
    std::erase(slots_, slot);
    for (ListeningAddress& opened : addresses_) {
        if (opened.is_shared() || opened.sockets.size() <= slot) continue;
        opened.group.remove(slot);
        opened.sockets[slot].reset();
    }
}

Result<void> Listeners::open_again(const conf::Config& config) {
    slots_.clear();
    for (ListeningAddress& opened : addresses_) {
        const conf::Listener& listener = config.listeners[opened.listener];
        auto done = opened.is_shared() ? open_address(listener, {}, opened, Patience::two_seconds)
                                       : probe(listener, opened.address, Patience::none);
        if (done || is_lacking(config, opened)) continue;
        close_sockets();
        return done;
    }
    return {};
}

void Listeners::close_sockets() {
    for (ListeningAddress& opened : addresses_) {
        opened.group = {};
        opened.sockets.clear();
    }
}

}  // namespace tcpd::master
