#include "master/master.h"

#include <ev.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "daemon/base/notify.h"
#include "daemon/base/process.h"
#include "daemon/base/text.h"
#include "daemon/base/version.h"
#include "daemon/base/watcher.h"
#include "master/control_server.h"
#include "master/crew.h"
#include "master/pid_file.h"
#include "master/start_up.h"

namespace tcpd::master {

namespace {

struct LoopEnd {
    void operator()(struct ev_loop* loop) const { ev_loop_destroy(loop); }
};
using Loop = std::unique_ptr<struct ev_loop, LoopEnd>;

void pass_over(const char* signal_name, const char* meaning) {
    log::limited(log::Level::info, signal_name, "{} is ignored: this tcpd can't {} yet", signal_name,
                 meaning);
}

const char* describe(conf::HandlerKind kind) {
    switch (kind) {
        case conf::HandlerKind::echo: return "echo";
        case conf::HandlerKind::discard: return "discard";
        case conf::HandlerKind::proxy: return "proxy";
    }
    return "handler";
}

// A start that fails is told to whoever sits before it, too, wherever the log goes.
void say_failure(const std::string& text, const conf::Log& settings) {
    log::error("{}", text);
    if (settings.output != "stderr") fmt::print(stderr, "tcpd: {}\n", text);
}

class Master : public CrewEvents, public Requests {
public:
    Master(Options options, Loop loop, UniqueFd log_fd, uint64_t begun_ns);
    // Everything up to the first birth; an Error ends it.
    Result<void> start();
    int serve();

    void on_ready() override;
    void on_start_failed(const std::string& reason) override;
    void on_request(RequestId id, std::string_view verb) override;

private:
    void start_signals();
    Result<void> settle_in();
    Result<void> lock_pid_file();
    Result<void> open_control_socket();
    Result<void> make_crew();
    void report_start();

    void on_term();
    void on_int();
    void on_usr1();
    void on_chld() { crew_->reap(); }
    void on_hup() { pass_over("SIGHUP", "reload its config"); }
    void on_usr2() { pass_over("SIGUSR2", "upgrade itself"); }
    void on_winch() { pass_over("SIGWINCH", "drain and stay"); }
    void on_ttin() { pass_over("SIGTTIN", "add a worker"); }
    void on_ttou() { pass_over("SIGTTOU", "take a worker away"); }
    void before_sleep();
    void on_timer();

    void drain();
    void stop();
    std::string describe_drain() const;
    std::string status();
    const char* state() const;
    void finish();

    Options options_;
    Loop loop_;
    uint64_t begun_ns_;
    UniqueFd log_fd_;
    int exit_code_ = kExitFine;
    std::optional<ServiceManager> service_;
    std::optional<PidFile> pid_file_;
    std::optional<Listeners> listeners_;
    DescriptorBudget budget_;
    UniqueFd program_, bundle_, counts_;
    std::unique_ptr<ControlServer> control_;
    std::unique_ptr<Crew> crew_;
    std::vector<RequestId> stop_requests_;
    SignalWatcher<Master, &Master::on_term> term_, quit_;
    SignalWatcher<Master, &Master::on_int> int_;
    SignalWatcher<Master, &Master::on_usr1> usr1_;
    SignalWatcher<Master, &Master::on_chld> chld_;
    SignalWatcher<Master, &Master::on_hup> hup_;
    SignalWatcher<Master, &Master::on_usr2> usr2_;
    SignalWatcher<Master, &Master::on_winch> winch_;
    SignalWatcher<Master, &Master::on_ttin> ttin_;
    SignalWatcher<Master, &Master::on_ttou> ttou_;
    TimerWatcher<Master, &Master::on_timer> timer_;
    PrepareWatcher<Master, &Master::before_sleep> before_sleep_;
};

Master::Master(Options options, Loop loop, UniqueFd log_fd, uint64_t begun_ns)
    : options_(std::move(options)),
      loop_(std::move(loop)),
      begun_ns_(begun_ns),
      log_fd_(std::move(log_fd)),
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

Result<void> Master::start() {
    start_signals();
    auto done = settle_in();
    if (done) done = check_user(options_.config.user);
    if (done) done = lock_pid_file();
    if (!done) return done;
    const unsigned workers = options_.config.worker_count();
    auto listeners = Listeners::open(options_.config, workers);
    if (!listeners) return std::move(listeners.error());
    listeners_.emplace(std::move(*listeners));
    budget_ = make_budget(budget_.limit, listeners_->addresses().size());
    done = open_control_socket();
    if (done) done = make_crew();
    if (done) report_start();
    return done;
}

void Master::start_signals() {
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

Result<void> Master::settle_in() {
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

Result<void> Master::lock_pid_file() {
    if (options_.config.pid_file.empty()) return {};
    auto file = PidFile::lock(options_.config.pid_file);
    if (!file) return std::move(file.error());
    pid_file_.emplace(std::move(*file));
    return {};
}

Result<void> Master::open_control_socket() {
    if (!pid_file_) return {};
    auto server = ControlServer::open(loop_.get(), control::socket_path(options_.config.pid_file), *this);
    if (!server) return std::move(server.error());
    control_ = std::move(*server);
    return {};
}

Result<void> Master::make_crew() {
    auto bundle = conf::make_bundle(options_.snapshot);
    if (!bundle) return std::move(bundle.error());
    bundle_ = std::move(*bundle);
    auto counts = slot::SharedCounts::create();
    if (!counts) return std::move(counts.error());
    counts_ = std::move(*counts);
    auto mapped = slot::SharedCounts::map(counts_.get());
    if (!mapped) return std::move(mapped.error());
    program_.reset(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    if (!program_) return system_error(errno, "open the running program", "/proc/self/exe");
    const CrewOutfit outfit{.loop = loop_.get(),
                            .config = &options_.config,
                            .listeners = &*listeners_,
                            .slots = options_.config.worker_count(),
                            .descriptor_limit = static_cast<uint32_t>(budget_.limit),
                            .log_level = options_.log_level.value_or(options_.config.log.level),
                            .program = program_.get(),
                            .bundle = bundle_.get(),
                            .counts = counts_.get(),
                            .log = log_fd_.get()};
    crew_ = std::make_unique<Crew>(outfit, std::move(*mapped), *this);
    chld_.start(SIGCHLD);
    return {};
}

void Master::report_start() {
    log::info("tcpd {} starts with {}", kVersion, options_.config_path);
    for (const std::string& warning : options_.warnings) log::warn("{}", warning);
    for (const ListeningAddress& opened : listeners_->addresses()) {
        const conf::Listener& listener = options_.config.listeners[opened.listener];
        log::info("listening on {} (listener \"{}\", {})", opened.address.text(), listener.name,
                  describe(listener.handler.kind));
    }
    log::info(
        "{} workers, each with a standby; {} descriptors each, {} of them set aside: "
        "room for about {} connections, half as many where they are proxied",
        options_.config.worker_count(), budget_.limit, budget_.set_aside, budget_.connections);
    if (budget_.connections == 0) {
        log::warn("the limit of open files is too low for any connection (ulimit -n)");
    }
}

void Master::on_ready() {
    if (pid_file_) {
        if (auto written = pid_file_->publish(); !written) log::error("{}", written.error().text());
    }
    log::info("ready in {} ms", (monotonic_ns() - begun_ns_) / 1'000'000);
    service_->ready(fmt::format("serving with {} workers", options_.config.worker_count()));
}

void Master::on_start_failed(const std::string& reason) {
    say_failure(reason, options_.config.log);
    exit_code_ = kExitSystem;
    stop();
}

// -- the loop

int Master::serve() {
    before_sleep_.start();
    ev_run(loop_.get(), 0);
    finish();
    return exit_code_;
}

void Master::before_sleep() {
    crew_->settle();
    if (control_) control_->forget_done();
    if (crew_->is_over()) return ev_break(loop_.get(), EVBREAK_ALL);
    const uint64_t now = monotonic_ns(), wake = crew_->next_wake();
    timer_.start_once(wake > now ? static_cast<double>(wake - now) / 1e9 : 0.0);
}

void Master::on_timer() {
    if (control_) control_->on_tick();
}

void Master::on_term() {
    if (crew_->is_draining()) return stop();
    drain();
}

void Master::on_int() { stop(); }

void Master::drain() {
    if (crew_->is_draining() || crew_->is_stopping()) return;
    log::info("{}", describe_drain());
    service_->stopping();
    crew_->drain();
}

std::string Master::describe_drain() const {
    const uint64_t open = crew_->open_connections();
    const Duration limit = options_.config.drain.stop;
    return fmt::format("draining: {} connection{} may end within {}", open, open == 1 ? "" : "s",
                       limit.count() == 0 ? "any time" : format_duration(limit));
}

void Master::stop() {
    if (crew_->is_stopping()) return;
    log::info("stopping at once");
    service_->stopping();
    crew_->stop();
}

void Master::on_usr1() {
    auto opened = open_log(options_.config.log.output);
    if (!opened) return log::error("{}", opened.error().text());
    if (::dup3(opened->get(), log_fd_.get(), O_CLOEXEC) < 0) return;
    crew_->replace_log(log_fd_.get());
    log::info("the log is opened anew");
}

void Master::finish() {
    log::info("stopped");
    for (const RequestId id : stop_requests_) control_->finish(id, "stopped");
}

// -- requests

void Master::on_request(RequestId id, std::string_view verb) {
    if (verb == control::kStatusVerb) {
        control_->print(id, status());
        control_->finish(id, "");
    } else if (verb == control::kStopVerb) {
        stop_requests_.push_back(id);
        control_->print(id, describe_drain() + "\n");
        drain();
    } else {
        control_->fail(id, fmt::format("this tcpd knows no request {}", quoted(verb)));
    }
}

const char* Master::state() const {
    if (crew_->is_stopping()) return "stopping";
    if (crew_->is_draining()) return "draining";
    return crew_->is_ready() ? "serving" : "starting";
}

std::string Master::status() {
    return status_text({.version = kVersion,
                        .state = state(),
                        .config_path = options_.config_path,
                        .pid = ::getpid(),
                        .uptime_ns = monotonic_ns() - begun_ns_,
                        .descriptor_limit = budget_.limit,
                        .connection_room = budget_.connections,
                        .listeners = crew_->listener_status(),
                        .slots = crew_->slot_status()});
}

Result<UniqueFd> start_log(const Options& options) {
    auto fd = open_log(options.config.log.output);
    if (!fd) return fd;
    log::start({.level = options.log_level.value_or(options.config.log.level),
                .format = options.config.log.format,
                .fd = fd->get(),
                .who = "master"});
    return fd;
}

int refuse(const Error& error) {
    log::error("{}", error.text());
    return kExitSystem;
}

}  // namespace

int run(Options options) {
    const uint64_t begun_ns = monotonic_ns();
    log::start({});
    reset_signals();
    if (auto settled = settle_standard_descriptors(); !settled) return refuse(settled.error());
    seal_descriptors();
    auto log_fd = start_log(options);
    if (!log_fd) return refuse(log_fd.error());
    Loop loop(ev_loop_new(unsigned{EVBACKEND_EPOLL} | unsigned{EVFLAG_NOENV}));
    if (!loop) return refuse(system_error(errno, "make an event loop"));
    const conf::Log log_settings = options.config.log;
    Master master(std::move(options), std::move(loop), std::move(*log_fd), begun_ns);
    auto started = master.start();
    if (started) return master.serve();
    say_failure(started.error().text(), log_settings);
    return kExitSystem;
}

}  // namespace tcpd::master
