#include "master/master_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/process.h"
#include "daemon/base/sandbox_gaps.h"
#include "daemon/base/signals.h"
#include "daemon/base/text.h"
#include "daemon/base/version.h"
#include "daemon/slot/address_counts.h"

namespace tcpd::master {

namespace {

const char* describe(conf::HandlerKind kind) {
    switch (kind) {
        case conf::HandlerKind::echo: return "echo";
        case conf::HandlerKind::discard: return "discard";
        case conf::HandlerKind::proxy: return "proxy";
        case conf::HandlerKind::routes: return "routes";
    }
    return "handler";
}

}  // namespace

MasterProcess::MasterProcess(Options options, Loop loop, UniqueFd log_fd, uint64_t begun_ns)
    : options_(std::move(options)),
      loop_(std::move(loop)),
      begun_ns_(begun_ns),
      log_fd_(std::move(log_fd)),
      trial_(loop_.get()),
      term_(loop_.get(), this),
      quit_(loop_.get(), this),
      int_(loop_.get(), this),
      usr1_(loop_.get(), this),
      chld_(loop_.get(), this),
      hup_(loop_.get(), this),
      usr2_(loop_.get(), this),
      winch_(loop_.get(), this),
      ttin_(loop_.get(), this),
      ttou_(loop_.get(), this),
      timer_(loop_.get(), this),
      before_sleep_(loop_.get(), this) {}

// -- start

Result<void> MasterProcess::start(InheritedSockets inherited) {
    start_signals();
    stand_back_from_oom();
    auto done = settle_in();
    if (done) done = check_user(options_.config.user);
    if (done) done = lock_pid_file();
    if (done) done = check_own_descriptors(options_.config, budget_.limit);
    if (!done) return done;
    const unsigned workers = options_.config.worker_count();
    auto listeners = Listeners::open(options_.config, workers, std::move(inherited));
    if (!listeners) return std::move(listeners.error());
    listeners_.emplace(std::move(*listeners));
    budget_ = make_budget(budget_.limit, listeners_->addresses().size());
    if (budget_.connections == 0) return no_descriptors(budget_, listeners_->addresses().size());
    done = open_control_socket();
    if (done) done = make_crew();
    if (done) report_start();
    if (done) reckon_memory();
    return done;
}

void MasterProcess::start_signals() {
    term_.start(SIGTERM);
    quit_.start(SIGQUIT);
    int_.start(SIGINT);
    usr1_.start(SIGUSR1);
    hup_.start(SIGHUP);
    usr2_.start(SIGUSR2);
    winch_.start(SIGWINCH);
    ttin_.start(SIGTTIN);
    ttou_.start(SIGTTOU);
}

Result<void> MasterProcess::settle_in() {
    set_process_title("tcpd: master " + options_.config_path);
    if (::chdir("/") != 0) return system_error(errno, "change the directory to", "/");
    auto service = ServiceManager::from_environment(options_.notify_fd);
    if (!service) return std::move(service.error());
    service_.emplace(std::move(*service));
    auto limit = raise_descriptor_limit();
    if (!limit) return std::move(limit.error());
    budget_.limit = *limit;
    return {};
}

Result<void> MasterProcess::lock_pid_file() {
    if (options_.config.pid_file.empty()) return {};
    auto file = PidFile::lock(options_.config.pid_file);
    if (!file) return std::move(file.error());
    pid_file_.emplace(std::move(*file));
    return {};
}

Result<void> MasterProcess::open_control_socket() {
    if (!pid_file_) return {};
    auto server = ControlServer::open(loop_.get(), control::socket_path(options_.config.pid_file), *this);
    if (!server) return std::move(server.error());
    control_ = std::move(*server);
    return {};
}

// Where there is but one worker, there is nothing to choose from; TTIN may add more.
Result<void> MasterProcess::make_counts() {
    auto map = make_counts_map();
    if (map) {
        counts_ = std::move(*map);
        listeners_->count_in(counts_.get());
        log::info("new connections go to the worker that has the fewest");
        return {};
    }
    log::info("new connections are spread at random: {}", map.error().text());
    auto counts = slot::SharedCounts::create();
    if (!counts) return std::move(counts.error());
    counts_ = std::move(*counts);
    return {};
}

Result<void> MasterProcess::make_crew() {
    auto bundle = conf::make_bundle(options_.snapshot);
    if (!bundle) return std::move(bundle.error());
    if (auto made = make_counts(); !made) return made;
    auto addresses = slot::AddressCounts::create(static_cast<uint32_t>(budget_.limit));
    if (!addresses) return std::move(addresses.error());
    addresses_ = std::move(*addresses);
    auto mapped = slot::SharedCounts::map(counts_.get());
    if (!mapped) return std::move(mapped.error());
    program_.reset(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    if (!program_) return system_error(errno, "open the running program", "/proc/self/exe");
    auto first = std::make_unique<Generation>();
    first->program.reset(::fcntl(program_.get(), F_DUPFD_CLOEXEC, 3));
    if (!first->program) return system_error(errno, "keep the running program");
    first->bundle = std::move(*bundle);
    first->log_level = options_.log_level.value_or(options_.config.log.level);
    first->roster = first_roster(options_.config);
    first->config = options_.config;
    crew_ = std::make_unique<Crew>(outfit(options_.config.worker_count(), budget_.limit), std::move(*mapped),
                                   std::move(first), *this);
    chld_.start(SIGCHLD);
    return {};
}

CrewOutfit MasterProcess::outfit(unsigned slots, uint64_t descriptor_limit) {
    return {.loop = loop_.get(),
            .listeners = &*listeners_,
            .slots = slots,
            .descriptor_limit = static_cast<uint32_t>(descriptor_limit),
            .counts = counts_.get(),
            .addresses = addresses_.get(),
            .log = log_fd_.get()};
}

void MasterProcess::report_start() {
    log::info("tcpd {} starts with {}", kVersion, options_.config_path);
    for (const std::string& warning : options_.warnings) log::warn("{}", warning);
    const bool own_user = !options_.config.user.empty() && ::geteuid() == 0;
    if (const std::string gaps = describe_gaps(look_at_kernel(), own_user); !gaps.empty())
        log::warn("{}", gaps);
    report_listening();
    log::info(
        "{} workers, each with a standby; {} descriptors each, {} of them set aside: "
        "room for about {} connections, half as many where they are proxied",
        options_.config.worker_count(), budget_.limit, budget_.set_aside, budget_.connections);
}

void MasterProcess::report_listening() {
    const conf::Config& config = crew_->config();
    for (const ListeningAddress& opened : listeners_->addresses()) {
        const conf::Listener& listener = config.listeners[opened.listener];
        log::info("listening on {} (listener \"{}\", {})", opened.address.text(), listener.name,
                  describe(listener.handler.kind));
    }
}

// Control groups are looked at anew each time: their limits change while tcpd runs.
void MasterProcess::reckon_memory() {
    MemoryBudget budget = make_memory_budget(
        crew_->config().memory, own_memory_limit(),
        {.workers = crew_->workers(), .descriptor_limit = budget_.limit, .machine_bytes = machine_memory()});
    crew_->follow_memory(budget.total_bytes, budget.worker_oom_raise);
    if (budget.text != memory_.text) log::info("{}", budget.text);
    if (!budget.warning.empty() && budget.warning != memory_.warning) log::warn("{}", budget.warning);
    memory_ = std::move(budget);
}

void MasterProcess::on_other_death(const Death& death) {
    if (trial_.take_death(death)) return;
    log::debug("reaped pid {}, a stranger: {}", death.pid, death.text());
}

void MasterProcess::on_ready() {
    if (pid_file_) {
        if (auto written = pid_file_->publish(); !written) log::error("{}", written.error().text());
    }
    log::info("ready in {} ms", (monotonic_ns() - begun_ns_) / 1'000'000);
    service_->ready(describe_state());
}

void MasterProcess::on_start_failed(const std::string& reason) {
    say_failure(reason, options_.config.log);
    exit_code_ = kExitSystem;
    stop();
}

// -- the loop

int MasterProcess::serve() {
    before_sleep_.start();
    ev_run(loop_.get(), 0);
    block_all_signals();  // each is about to get its default back, and one that comes now would end this as killed
    finish();
    return exit_code_;
}

void MasterProcess::before_sleep() {
    // What begins or ends here has consequences that no event will tell of.
    do {
        crew_->settle();
    } while (begin_change() || go_on_with_upgrade());
    finish_reopening();
    if (crew_->is_resting() && crew_->is_empty()) finish_all(drain_requests_, "drained");
    if (control_) control_->forget_done();
    if (crew_->is_over()) return ev_break(loop_.get(), EVBREAK_ALL);
    const uint64_t now = monotonic_ns();
    report_to_service(now);
    uint64_t wake = std::min(crew_->next_wake(), service_->next_report_ns());
    if (control_) wake = std::min(wake, control_->next_wake());
    timer_.start_once(wake > now ? static_cast<double>(wake - now) / 1e9 : 0.0);
}

void MasterProcess::on_timer() {
    if (control_) control_->on_tick(monotonic_ns());
}

void MasterProcess::on_term() {
    if (crew_->is_draining()) return stop();
    drain();
}

void MasterProcess::on_int() { stop(); }

void MasterProcess::drain() {
    if (crew_->is_draining() || crew_->is_stopping()) return;
    log::info("{}", describe_drain());
    crew_->drain();
    service_->stopping(describe_state());
}

std::string MasterProcess::describe_drain() const {
    const uint64_t open = crew_->open_connections();
    const Duration limit = crew_->config().drain.stop;
    return fmt::format("draining: {} connection{} may end within {}", open, open == 1 ? "" : "s",
                       limit.count() == 0 ? "any time" : format_duration(limit));
}

void MasterProcess::stop() {
    if (crew_->is_stopping()) return;
    log::info("stopping at once");
    crew_->stop();
    service_->stopping(describe_state());
}

Result<void> MasterProcess::reopen_log() {
    auto opened = open_log(crew_->config().log.output);
    if (!opened) return opened.error();
    if (::dup3(opened->get(), log_fd_.get(), O_CLOEXEC) < 0) {
        return system_error(errno, "use the log that was opened anew");
    }
    crew_->replace_log(log_fd_.get());
    log::info("the log is opened anew");
    return {};
}

// Once each slot has said whether it uses the log.
void MasterProcess::finish_reopening() {
    if (reopen_requests_.empty() || crew_->is_log_pending()) return;
    const std::string& failure = crew_->log_failure();
    for (const RequestId id : std::exchange(reopen_requests_, {})) {
        failure.empty() ? control_->finish(id, "reopened")
                        : control_->fail(id, {.code = ErrorCode::exhausted, .reason = failure});
    }
}

void MasterProcess::on_usr1() {
    if (const auto done = reopen_log(); !done) log::error("{}", done.error().text());
}

void MasterProcess::finish() {
    log::info("stopped");
    finish_all(stop_requests_, "stopped");
}

void MasterProcess::finish_all(std::vector<RequestId>& requests, const char* outcome) {
    for (const RequestId id : std::exchange(requests, {})) control_->finish(id, outcome);
}

// -- requests

void MasterProcess::on_request(RequestId id, std::string_view verb) {
    if (verb == control::kStatusVerb) {
        control_->print(id, status());
        control_->finish(id, "");
    } else if (verb == control::kReloadVerb) {
        changes_.ask(ChangeKind::reload, id);
    } else if (verb == control::kUpgradeVerb) {
        changes_.ask(ChangeKind::upgrade, id);
    } else if (verb == control::kReopenVerb) {
        const auto done = reopen_log();
        done ? reopen_requests_.push_back(id) : control_->fail(id, done.error());
    } else if (verb == control::kDrainVerb) {
        drain_requests_.push_back(id);
        control_->print(id, describe_drain() + "\n");
        rest();
    } else if (verb == control::kStopVerb) {
        stop_requests_.push_back(id);
        control_->print(id, describe_drain() + "\n");
        drain();
    } else {
        control_->fail(id, {.code = ErrorCode::refused,
                            .reason = fmt::format("this tcpd knows no request {}", quoted(verb))});
    }
}

const char* MasterProcess::state() const {
    if (crew_->is_stopping()) return "stopping";
    if (crew_->is_draining()) return "draining";
    if (crew_->is_resting()) return "resting";
    return crew_->is_ready() ? "serving" : "starting";
}

std::string MasterProcess::status() {
    return status_text({.version = kVersion,
                        .state = state(),
                        .config_path = options_.config_path,
                        .pid = ::getpid(),
                        .uptime_ns = monotonic_ns() - begun_ns_,
                        .descriptor_limit = budget_.limit,
                        .connection_room = budget_.connections,
                        .memory_total = memory_.total_bytes,
                        .memory_used = crew_->buffer_bytes(),
                        .dropped_log_lines = log::dropped_lines(),
                        .control_refused = control_ ? control_->refused() : 0,
                        .listeners = crew_->listener_status(),
                        .slots = crew_->slot_status()});
}

}  // namespace tcpd::master
