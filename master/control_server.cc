#include "master/control_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/net/address.h"
#include "master/reexec/state.h"

namespace tcpd::master {

namespace {

constexpr size_t kMostClients = 32;
constexpr int kBacklog = 16;

// In one step with the right mode: nobody else can connect in between.
int bind_private(int fd, const Address& address) {
    const mode_t before = ::umask(0177);
    const int result = ::bind(fd, address.get(), address.length());
    const int sys_errno = errno;
    ::umask(before);
    errno = sys_errno;
    return result;
}

}  // namespace

ControlClient::ControlClient(ControlServer& server, struct ev_loop* loop, UniqueFd fd, RequestId id)
    : server_(server), fd_(std::move(fd)), id_(id), readable_(loop, this), writable_(loop, this) {
    readable_.start(fd_.get());
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
        server_.on_request(id_, std::string_view(verb, static_cast<size_t>(got)));
    }
}

void ControlClient::queue(control::ReplyKind kind, std::string_view text) {
    if (done_ || answered_) return;
    answered_ = kind != control::ReplyKind::output;
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
    if (!answered_ && !done_) return;
    readable_.stop();
    done_ = true;
}

ControlServer::ControlServer(struct ev_loop* loop, UniqueFd fd, UnixFile file, Requests& requests)
    : loop_(loop), fd_(std::move(fd)), file_(std::move(file)), requests_(requests), acceptable_(loop, this) {
    acceptable_.start(fd_.get());
}

ControlServer::~ControlServer() { remove_file(file_); }

Result<std::unique_ptr<ControlServer>> ControlServer::open(struct ev_loop* loop, const std::string& path,
                                                           Requests& requests) {
    const std::string doing = "open the control socket";
    auto address = Address::parse("unix:" + path, false);
    if (!address) return std::move(address.error());
    UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return system_error(errno, doing, path);
    struct stat status {};
    if (::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) ::unlink(path.c_str());
    if (bind_private(fd.get(), *address) != 0) return system_error(errno, doing, path);
    if (::lstat(path.c_str(), &status) != 0) return system_error(errno, doing, path);
    UnixFile file{path, status.st_dev, status.st_ino};
    if (::listen(fd.get(), kBacklog) != 0) return system_error(errno, doing, path);
    return std::unique_ptr<ControlServer>(new ControlServer(loop, std::move(fd), std::move(file), requests));
}

void ControlServer::save(MasterState& state) const {
    state.control_fd = fd_.get();
    state.control_file = file_;
    state.last_request = last_id_;
    for (const auto& client : clients_) {
        if (!client->is_done()) state.clients.push_back(client->save());
    }
}

std::unique_ptr<ControlServer> ControlServer::take_over(struct ev_loop* loop, const MasterState& state,
                                                        Requests& requests) {
    std::unique_ptr<ControlServer> server(
        new ControlServer(loop, UniqueFd(state.control_fd), state.control_file, requests));
    server->last_id_ = state.last_request;
    for (const SavedClient& client : state.clients) {
        server->clients_.push_back(
            std::make_unique<ControlClient>(*server, loop, UniqueFd(client.fd), client.id));
        server->clients_.back()->take_over(client);
    }
    return server;
}

// At the limit, of clients or of descriptors, the next one waits in the queue until `on_tick`.
void ControlServer::on_acceptable() {
    if (clients_.size() >= kMostClients) return acceptable_.stop();
    UniqueFd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return acceptable_.stop();
    clients_.push_back(std::make_unique<ControlClient>(*this, loop_, std::move(fd), ++last_id_));
}

void ControlServer::forget_done() {
    std::erase_if(clients_, [](const auto& client) { return client->is_done(); });
}

void ControlServer::on_tick() {
    if (!acceptable_.is_active()) acceptable_.start(fd_.get());
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

void ControlServer::fail(RequestId id, std::string_view reason) {
    if (ControlClient* client = find(id)) client->queue(control::ReplyKind::failed, reason);
}

}  // namespace tcpd::master
