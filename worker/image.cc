#include "worker/image.h"

#include <ev.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "conf/load.h"
#include "daemon/base/fault_point.h"
#include "daemon/base/log.h"
#include "daemon/base/process.h"
#include "worker/descriptor_table.h"
#include "worker/dispositions.h"
#include "worker/fault_handler.h"
#include "worker/life.h"
#include "worker/renewal/table_receiver.h"
#include "worker/sandbox.h"
#include "worker/standby.h"

namespace tcpd::worker {

namespace {

[[noreturn]] void give_up(const Error& error, int exit_code = kExitSystem) {
    log::error("image: {}", error.text());
    ::_exit(exit_code);
}

// The value of a step of the start-up, which ends here if there is none.
template <typename T>
T need(Result<T> result) {
    if (!result) give_up(result.error());
    return std::move(*result);
}
void need(const Result<void>& result) {
    if (!result) give_up(result.error());
}

conf::Config read_config(int bundle_fd) {
    auto loaded = conf::load_bundle(bundle_fd);
    if (!loaded) give_up(loaded.error(), kExitConfig);
    for (const auto& problem : loaded->problems) log::error("image: {}", problem.text());
    if (!loaded->problems.empty()) ::_exit(kExitConfig);
    return std::move(loaded->config);
}

// What the master says is checked once, here; nobody else looks a second time.
std::map<int, conf::Config> read_former_configs(const slot::Birth& birth, const conf::Config& in_force) {
    std::map<int, conf::Config> former;
    for (const slot::BirthOwner& born : birth.owners) {
        const conf::Config* config = &in_force;
        if (born.bundle_fd != slot::kBundleFd) {
            auto at = former.find(born.bundle_fd);
            if (at == former.end()) at = former.emplace(born.bundle_fd, read_config(born.bundle_fd)).first;
            config = &at->second;
        }
        if (born.id >= slot::kMaxListeners || born.index >= config->listeners.size())
            give_up({.code = ErrorCode::bad_format,
                     .doing = "read a birth",
                     .reason =
                         fmt::format("it names listener {} at {}, which is not there", born.id, born.index)});
    }
    return former;
}

void check_sockets(const slot::Birth& birth) {
    for (const slot::ListenSocket& socket : birth.sockets) {
        const bool known = std::any_of(birth.owners.begin(), birth.owners.end(),
                                       [&](const auto& born) { return born.id == socket.listener_id; });
        if (known) continue;
        give_up({.code = ErrorCode::bad_format,
                 .doing = "read a birth",
                 .reason =
                     fmt::format("a socket is of listener {}, which it does not name", socket.listener_id)});
    }
}

void start_log(const slot::Birth& birth, const conf::Config& config) {
    const std::string who = fmt::format("worker {}", birth.slot);
    log::start({.level = static_cast<log::Level>(birth.log_level),
                .format = config.log.format,
                .fd = slot::kLogFd,
                .who = who});
}

// No descriptor may lie outside of the slot's table.
void fit_descriptor_limit(const Image& image) {
    if (image.memory.slot_number() != image.birth.slot)
        give_up({.code = ErrorCode::bad_format,
                 .doing = "use slot memory",
                 .reason =
                     fmt::format("it is of slot {}, not {}", image.memory.slot_number(), image.birth.slot)});
    need(raise_descriptor_limit(std::min(image.birth.descriptor_limit, image.memory.record_count())));
}

// The descriptor that signals wake the loop by is opened with the first watcher that needs it. It must be
// pristine: among the connections' numbers it would be swept, and a signal write to the client that got its
// number.
void open_wake_descriptor(struct ev_loop* loop) {
    ev_async first;
    ev_async_init(&first, [](struct ev_loop*, ev_async*, int) {});
    ::ev_async_start(loop, &first);
    ::ev_async_stop(loop, &first);
}

// poll(2), for the few descriptors that libev watches: our own epoll set has the connections. Set into
// another one, the kernel would walk all its members for each process that takes the seat (epoll_ctl(2),
// ELOOP).
struct ev_loop* make_loop() {
    struct ev_loop* loop = ::ev_loop_new(unsigned{EVFLAG_NOENV} | unsigned{EVBACKEND_POLL});
    if (loop == nullptr) give_up(system_error(errno, "make an event loop"));
    open_wake_descriptor(loop);
    return loop;
}

void prepare_signals(Image& image) {
    need(prepare_fault_handler(image.seat, image.memory.worker_control()));
    need(Seat::prepare_second_way());
    need(set_dispositions());
}

bool dials_unix(const conf::Config& config) {
    return std::any_of(config.upstreams.begin(), config.upstreams.end(), [](const conf::Upstream& upstream) {
        return std::any_of(upstream.servers.begin(), upstream.servers.end(),
                           [](const Address& server) { return server.is_unix(); });
    });
}

// Listeners that a reload removed go on with their own upstreams.
SandboxNeeds sandbox_needs(const Image& image) {
    SandboxNeeds needs{dials_unix(image.config), image.config.pid_file};
    for (const auto& [fd, config] : image.former_configs) needs.dials_unix |= dials_unix(config);
    return needs;
}

void drop_user(const conf::Config& config) {
    if (config.user.empty()) return;
    need(become_user(need(find_user(config.user))));
}

// What a later master gives to images of its own version is of no use here.
void sort_descriptors(const slot::Birth& birth) {
    for (const slot::GivenDescriptor& given : birth.descriptors) {
        const auto& known = slot::known_descriptors();
        const auto same = std::find_if(known.begin(), known.end(),
                                       [&given](const auto& own) { return own.name == given.name; });
        if (same == known.end() && given.fd > STDERR_FILENO && given.fd < slot::kFirstOwnFd)
            ::dup3(STDIN_FILENO, given.fd, O_CLOEXEC);
        if (same != known.end() && same->fd != given.fd)
            give_up({.code = ErrorCode::bad_format,
                     .doing = "read a birth",
                     .reason =
                         fmt::format("its descriptor \"{}\" is {}, not {}", given.name, given.fd, same->fd)});
    }
}

Image make_image() {
    slot::Birth birth = need(slot::receive_birth(slot::kControlFd));
    sort_descriptors(birth);
    conf::Config config = read_config(slot::kBundleFd);
    start_log(birth, config);
    std::map<int, conf::Config> former = read_former_configs(birth, config);
    check_sockets(birth);
    set_process_title(fmt::format("tcpd: standby {}", birth.slot));
    return Image{.birth = std::move(birth),
                 .memory = need(slot::SlotMemory::map(slot::kBoardFd, slot::kBuffersFd)),
                 .counts = need(slot::SharedCounts::map(slot::kCountsFd)),
                 .addresses = need(slot::AddressCounts::map(slot::kAddressesFd)),
                 .config = std::move(config),
                 .former_configs = std::move(former),
                 .loop = make_loop(),
                 .seat = need(Seat::create())};
}

// Exits if nothing comes of it.
void take_over_table(Image& image) {
    if (const auto end = TableReceiver(image).receive()) refuse_table(image, *end);
}

}  // namespace

bool is_own_socket(const Image& image, int fd) {
    return std::any_of(image.birth.sockets.begin(), image.birth.sockets.end(),
                       [fd](const slot::ListenSocket& socket) { return socket.fd == fd; });
}

namespace {

// What a library opened and keeps, as one that looks up users may: its number is wanted for a connection, and it
// must not be taken for one.
void close_unknown(const Image& image) {
    std::vector<int> known{slot::kFirstListenFd - 1};
    for (const slot::ListenSocket& socket : image.birth.sockets) known.push_back(socket.fd);
    for (const slot::BirthOwner& born : image.birth.owners) known.push_back(born.bundle_fd);
    std::sort(known.begin(), known.end());
    for (size_t i = 0; i < known.size(); ++i) {
        const int first = std::max(known[i] + 1, slot::kFirstListenFd);
        const int last = i + 1 < known.size() ? known[i + 1] - 1 : INT_MAX;
        if (first <= last) ::close_range(static_cast<unsigned>(first), static_cast<unsigned>(last), 0);
    }
}

}  // namespace

void run_image() {
    ::close_range(slot::kControlFd, ~0U, CLOSE_RANGE_CLOEXEC);
    log::start({.fd = slot::kLogFd, .who = "image"});
    plug_given_numbers();
    Image image = make_image();
    fit_descriptor_limit(image);
    need(FAULT_MAP_AREA());
    prepare_clones();
    prepare_signals(image);
    drop_user(image.config);
    close_unknown(image);
    const DescriptorTable table = need(prepare_descriptor_table());
    image.poller_fd = table.poller_fd;
    image.first_connection_fd = table.first_connection_fd;
    log::info("sandbox: {}", enter_sandbox(sandbox_needs(image)));
    image.memory.map_ahead(image.memory.worker_control().high_fd.load(std::memory_order_relaxed));
    need(slot::send_message(slot::kControlFd, {slot::MessageType::started}));
    if (image.birth.is_renewal) take_over_table(image);
    live(image);
}

}  // namespace tcpd::worker
