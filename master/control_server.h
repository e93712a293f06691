#pragma once

// The master's side of PID_FILE.ctl (daemon/base/control_request.h): takes requests, hands each to whoever
// can answer, sends the answer when it is there, at once or much later. Master only. Owns the listening
// socket, its file and the clients. If the master dies, clients see end of file before an answer. Who may not
// ask (control_peer.h) is told so and let go, at the accept and once more when the request is read. There are
// at most 32 clients: each has 5 s to ask and 5 s to read its answer, and where all places are taken, the one
// that keeps its place with the least reason makes room. Source: unix(7).

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/control_request.h"
#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "daemon/base/watcher.h"
#include "master/control_peer.h"
#include "master/listen/socket_file.h"

namespace tcpd::master {

using RequestId = uint64_t;

class Requests {
public:
    virtual ~Requests() = default;
    // Answered now or later by ControlServer's finish or fail, once.
    virtual void on_request(RequestId id, std::string_view verb) = 0;
};

class ControlServer;
struct MasterState;
struct SavedClient;

// One connection, one request.
class ControlClient {
public:
    ControlClient(ControlServer& server, struct ev_loop* loop, UniqueFd fd, RequestId id, ControlPeer peer);
    RequestId id() const { return id_; }
    bool is_done() const { return done_; }
    // What it keeps its place for, the least first.
    enum class Standing { refused, silent, answered, waiting };
    Standing standing() const;
    // When its patience is over; ~0: whoever waits for an answer has time.
    uint64_t until_ns() const { return standing() == Standing::waiting ? ~uint64_t{0} : until_ns_; }
    // Reads what is there before it judges: who has asked is not silent.
    void end_if_late(uint64_t now);
    void make_room();
    // Over an exec of this process.
    SavedClient save() const;
    void take_over(const SavedClient& saved);
    void queue(control::ReplyKind kind, std::string_view text);
    void flush();

    void on_readable();
    bool is_admitted();

private:
    void on_writable() { flush(); }
    void let_go(std::string_view reason);
    ControlServer& server_;
    UniqueFd fd_;
    RequestId id_;
    ControlPeer peer_;
    uint64_t until_ns_;
    bool asked_ = false, refused_ = false, answered_ = false, done_ = false;
    std::deque<std::string> unsent_;
    IoWatcher<ControlClient, &ControlClient::on_readable> readable_;
    IoWatcher<ControlClient, &ControlClient::on_writable> writable_;
};

class ControlServer {
public:
    // The caller holds the pid file's lock: what lies at the path is stale.
    static Result<std::unique_ptr<ControlServer>> open(struct ev_loop* loop, const std::string& path,
                                                       Requests& requests);
    ~ControlServer();
    // True: the path led to its socket no longer; it was bound anew. An Error leaves it as it is. The caller holds the
    // pid file's lock.
    Result<bool> restore();
    // Over an exec of this process: clients keep their ids, whether they have asked or not.
    void save(MasterState& state) const;
    static std::unique_ptr<ControlServer> take_over(struct ev_loop* loop, const MasterState& state,
                                                    Requests& requests);

    // A client that is gone is passed over. Text of any length is cut into messages.
    void print(RequestId id, std::string_view text);
    void finish(RequestId id, std::string_view last_line);
    void fail(RequestId id, const Error& reason);
    // Lets go of clients that are through; called from the loop, never from a client's own callback.
    void forget_done();
    void on_tick(
        uint64_t
            now);  // each second or so, and at `next_wake`: takes clients again, ends those that are late
    uint64_t next_wake() const;

    void on_request(RequestId id, std::string_view verb) { requests_.on_request(id, verb); }
    // Logs and counts it.
    void note_refusal(const Error& refusal);
    uint64_t refused() const { return refused_; }

private:
    struct Bound {
        UniqueFd fd;
        UnixFile file;
    };
    static Result<Bound> bind(const std::string& path);
    ControlServer(struct ev_loop* loop, UniqueFd fd, UnixFile file, Requests& requests);
    void on_acceptable();
    void take(UniqueFd fd);
    void make_room();
    ControlClient* find(RequestId id);

    struct ev_loop* loop_;
    UniqueFd fd_;
    UnixFile file_;
    Requests& requests_;
    RequestId last_id_ = 0;
    uint64_t refused_ = 0;
    std::vector<std::unique_ptr<ControlClient>> clients_;
    IoWatcher<ControlServer, &ControlServer::on_acceptable> acceptable_;
};

}  // namespace tcpd::master
