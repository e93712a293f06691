#include "conf/config.h"

#include <algorithm>
#include <array>

#include "daemon/base/process.h"

namespace tcpd::conf {

namespace {

std::array<Framing, 3> make_built_in_framings() {
    std::array<Framing, 3> all;
    all[1].name = "line";
    all[1].kind = FramingKind::line;
    all[2].name = "tcpd";
    all[2].kind = FramingKind::tcpd;
    return all;
}

}  // namespace

std::span<const Framing> built_in_framings() {
    static const std::array<Framing, 3> kBuiltIn = make_built_in_framings();
    return kBuiltIn;
}

const Framing* find_built_in_framing(std::string_view name) {
    for (const Framing& framing : built_in_framings())
        if (framing.name == name) return &framing;
    return nullptr;
}

const Framing* find_framing(std::string_view name, std::span<const Framing> declared) {
    for (const Framing& framing : declared)
        if (framing.name == name) return &framing;
    return find_built_in_framing(name);
}

unsigned Config::worker_count() const { return workers.value_or(std::min(usable_cpus(), kMaxWorkers)); }

uint64_t Config::listening_sockets() const {
    uint64_t sockets = 0;
    for (const Listener& listener : listeners) {
        for (const Address& address : listener.listen)
            sockets += address.is_unix() || address.is_inherited() ? 1 : worker_count();
    }
    return sockets;
}

uint64_t Config::master_descriptors() const {
    constexpr uint64_t kOfItsOwn = 64, kOfWorker = 4;
    return listening_sockets() + kOfItsOwn + kOfWorker * worker_count();
}

}  // namespace tcpd::conf
