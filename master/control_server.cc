#include "master/control_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/net/address.h"
#include "master/reexec/state.h"

namespace tcpd::master {

namespace {

constexpr size_t kMostClients = 32;
constexpr int kBacklog = 16;
constexpr uint64_t kPatienceNs = 5'000'000'000;  // until it has asked, and until it has read

// In one step with the right mode: nobody else can connect in between.
Result<NewSocketFile> bind_private(int fd, const FilePlace& place, std::optional<FileId> stale,
                                   const std::string& doing) {
    const mode_t before = ::umask(0177);
    auto made = NewSocketFile::bind(fd, place, stale, doing);
    ::umask(before);
    return made;
}

}  // namespace

ControlClient::ControlClient(ControlServer& server, struct ev_loop* loop, UniqueFd fd, RequestId id,
                             ControlPeer peer)
    : server_(server),
      fd_(std::move(fd)),
      id_(id),
      peer_(std::move(peer)),
      until_ns_(monotonic_ns() + kPatienceNs),
      readable_(loop, this),
      writable_(loop, this) {
    readable_.start(fd_.get());
}

ControlClient::Standing ControlClient::standing() const {
    if (refused_) return Standing::refused;
    if (answered_) return Standing::answered;
    return asked_ ? Standing::waiting : Standing::silent;
}

SavedClient ControlClient::save() const {
    return {id_, fd_.get(), asked_, answered_, {unsent_.begin(), unsent_.end()}};
}

void ControlClient::take_over(const SavedClient& saved) {
    asked_ = saved.asked;
    answered_ = saved.answered;
    unsent_.assign(saved.unsent.begin(), saved.unsent.end());
    flush();
}

void ControlClient::on_readable() {
    char verb[control::kMaxRequestBytes];
    const ssize_t got = ::recv(fd_.get(), verb, sizeof verb, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        done_ = true;
        readable_.stop();
        writable_.stop();
    } else if (!asked_) {
        asked_ = true;
        if (is_admitted()) server_.on_request(id_, std::string_view(verb, static_cast<size_t>(got)));
    }
}

// Once at the accept and once more when it has asked. Who is refused keeps the connection until he has left:
// what he sends to a closed one would reach him as an error before the reason does.
bool ControlClient::is_admitted() {
    const auto allowed = peer_.judge();
    if (allowed) return true;
    server_.note_refusal(allowed.error());
    asked_ = refused_ = true;
    queue(control::ReplyKind::failed, allowed.error().text());
    return false;
}

void ControlClient::let_go(std::string_view reason) {
    queue(control::ReplyKind::failed, reason);
    readable_.stop();
    writable_.stop();
    done_ = true;
}

void ControlClient::end_if_late(uint64_t now) {
    if (done_ || now < until_ns()) return;
    if (standing() == Standing::silent) on_readable();
    if (done_ || now < until_ns()) return;
    let_go("nothing was asked within 5s");
}

void ControlClient::make_room() {
    let_go(standing() == Standing::waiting
               ? "too many wait for an answer; what was asked goes on without one (the log tells its end)"
               : "nothing was asked yet, and another asker needs the place (ask again)");
}

void ControlClient::queue(control::ReplyKind kind, std::string_view text) {
    if (done_ || answered_) return;
    answered_ = kind != control::ReplyKind::output;
    if (answered_) until_ns_ = monotonic_ns() + kPatienceNs;
    unsent_.push_back(static_cast<char>(kind) + std::string(text));
    flush();
}

void ControlClient::flush() {
    while (!done_ && !unsent_.empty()) {
        const std::string& next = unsent_.front();
        if (::send(fd_.get(), next.data(), next.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
            unsent_.pop_front();
        } else if (errno == EAGAIN) {
            return writable_.start(fd_.get(), EV_WRITE);
        } else if (errno != EINTR) {
            done_ = true;
        }
    }
    writable_.stop();
    if ((!answered_ || refused_) && !done_) return;
    readable_.stop();
    done_ = true;
}

ControlServer::ControlServer(struct ev_loop* loop, UniqueFd fd, UnixFile file, Requests& requests)
    : loop_(loop), fd_(std::move(fd)), file_(std::move(file)), requests_(requests), acceptable_(loop, this) {
    acceptable_.start(fd_.get());
}

ControlServer::~ControlServer() { remove_file(file_); }

Result<ControlServer::Bound> ControlServer::bind(const std::string& path) {
    const std::string doing = "open the control socket";
    auto place = FilePlace::find(path);
    if (!place) return std::move(place.error());
    auto stale = find_socket(*place, ::geteuid(), doing);
    if (!stale) return std::move(stale.error());
    UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return system_error(errno, doing, path);
    auto made = bind_private(fd.get(), *place, *stale, doing);
    if (!made) return std::move(made.error());
    if (::listen(fd.get(), kBacklog) != 0) return system_error(errno, doing, path);
    auto file = made->put_in_place();
    if (!file) return std::move(file.error());
    return Bound{std::move(fd), std::move(*file)};
}

Result<std::unique_ptr<ControlServer>> ControlServer::open(struct ev_loop* loop, const std::string& path,
                                                           Requests& requests) {
    auto bound = bind(path);
    if (!bound) return std::move(bound.error());
    return std::unique_ptr<ControlServer>(
        new ControlServer(loop, std::move(bound->fd), std::move(bound->file), requests));
}

// Who connected to the old socket and was not accepted yet is taken first.
Result<bool> ControlServer::restore() {
    if (is_in_place(file_)) return false;
    auto bound = bind(file_.path);
    if (!bound) return std::move(bound.error());
    for (int i = 0; i <= kBacklog && acceptable_.is_active(); ++i) on_acceptable();
    acceptable_.stop();
    fd_ = std::move(bound->fd);
    file_ = std::move(bound->file);
    acceptable_.start(fd_.get());
    return true;
}

void ControlServer::save(MasterState& state) const {
    state.control_fd = fd_.get();
    state.control_file = file_;
    state.last_request = last_id_;
    for (const auto& client : clients_) {
        if (!client->is_done() && client->standing() != ControlClient::Standing::refused)
            state.clients.push_back(client->save());
    }
}

std::unique_ptr<ControlServer> ControlServer::take_over(struct ev_loop* loop, const MasterState& state,
                                                        Requests& requests) {
    std::unique_ptr<ControlServer> server(
        new ControlServer(loop, UniqueFd(state.control_fd), state.control_file, requests));
    server->last_id_ = state.last_request;
    for (const SavedClient& client : state.clients) {
        UniqueFd fd(client.fd);
        auto peer = ControlPeer::of(fd.get());
        if (!peer) continue;  // it sees the end of its connection
        server->clients_.push_back(
            std::make_unique<ControlClient>(*server, loop, std::move(fd), client.id, std::move(*peer)));
        server->clients_.back()->take_over(client);
    }
    return server;
}

// Without descriptors left the next one waits in the queue until `on_tick`.
void ControlServer::on_acceptable() {
    UniqueFd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return acceptable_.stop();
    forget_done();
    take(std::move(fd));
}

void ControlServer::take(UniqueFd fd) {
    auto peer = ControlPeer::of(fd.get());
    if (!peer) return note_refusal(peer.error());
    if (clients_.size() >= kMostClients) make_room();
    clients_.push_back(
        std::make_unique<ControlClient>(*this, loop_, std::move(fd), ++last_id_, std::move(*peer)));
    (void)clients_.back()->is_admitted();
}

void ControlServer::note_refusal(const Error& refusal) {
    ++refused_;
    log::limited(log::Level::warn, "refused asker", "the control socket: {}", refusal.text());
}

// They stand in the order of their coming. Who seems silent may have asked by now, and then is not.
void ControlServer::make_room() {
    for (;;) {
        const auto least =
            std::min_element(clients_.begin(), clients_.end(),
                             [](const auto& a, const auto& b) { return a->standing() < b->standing(); });
        const ControlClient::Standing standing = (*least)->standing();
        if (standing == ControlClient::Standing::silent) (*least)->on_readable();
        if ((*least)->standing() != standing && !(*least)->is_done()) continue;
        (*least)->make_room();
        return forget_done();
    }
}

void ControlServer::forget_done() {
    std::erase_if(clients_, [](const auto& client) { return client->is_done(); });
}

void ControlServer::on_tick(uint64_t now) {
    if (!acceptable_.is_active()) acceptable_.start(fd_.get());
    for (const auto& client : clients_) client->end_if_late(now);
}

uint64_t ControlServer::next_wake() const {
    uint64_t wake = ~uint64_t{0};
    for (const auto& client : clients_) wake = std::min(wake, client->until_ns());
    return wake;
}

ControlClient* ControlServer::find(RequestId id) {
    const auto at = std::find_if(clients_.begin(), clients_.end(), [id](const auto& client) {
        return client->id() == id && !client->is_done();
    });
    return at == clients_.end() ? nullptr : at->get();
}

void ControlServer::print(RequestId id, std::string_view text) {
    ControlClient* client = find(id);
    while (client != nullptr && !text.empty()) {
        const size_t length = std::min(text.size(), control::kMaxReplyBytes - 1);
        client->queue(control::ReplyKind::output, text.substr(0, length));
        text.remove_prefix(length);
    }
}

void ControlServer::finish(RequestId id, std::string_view last_line) {
    if (ControlClient* client = find(id)) client->queue(control::ReplyKind::done, last_line);
}

void ControlServer::fail(RequestId id, const Error& reason) {
    ControlClient* client = find(id);
    if (client == nullptr) return;
    std::string text = reason.text();
    if (reason.code == ErrorCode::bad_config) text.append(control::kBadConfigMark);
    client->queue(control::ReplyKind::failed, text);
}

}  // namespace tcpd::master
