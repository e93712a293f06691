#pragma once

// What master and slot say to each other over the slot's control socket (a SEQPACKET pair, one message a
// call): the whole list. Messages are fields by name (daemon/base/fields.h): either side may be a later version, and
// what the other does not know is passed over. The slot's end is in its fd table, so worker and standby share it; the
// worker alone reads and writes. End of file means to a slot that the master is gone, and to the master that the slot's
// table is. Source: unix(7).

#include <csignal>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "daemon/slot/reason.h"
#include "daemon/slot/record.h"

namespace tcpd::slot {

enum class MessageType : uint32_t {
    // master to slot
    birth = 1,     // the first one, waiting in the socket when the image starts: Birth and its sockets follow
    drain,         // MasterControl says until when
    stop,          // close what is left and exit; MasterControl::word is (0,0) already
    pause_accept,  // accept no more until resume_accept (TCP is unsteered besides)
    resume_accept,
    replace_log,  // with a descriptor: put it in the place of the log's
    // exit if no connection is open, which is the answer; MasterControl::word is (0,0) already then
    retire_if_empty,
    // a: the attempt; to the image in service, with one end of a socket pair: park, send the table through it
    // (worker/renewal/table_wire.h), wait on the word. Stale if the word says otherwise
    hand_over,
    receive_table,  // a: the attempt; to its image, with the other end
    // slot to master
    started = 101,  // the image's start-up is done, it waits for its seat, or for receive_table
    seated,         // a: worker pid, b: standby pid (0: none), c: predecessor's pid (0: none)
    serving,        // a: worker pid, adoption is done
    backing_off,    // a: worker pid, b: milliseconds
    clone_failed,   // a: worker pid, b: errno
    log_replaced,   // a: 0 or errno
    drained,        // a: connections that were closed at the end
    unparked,       // a: worker pid, b: HandOverEnd, c: the attempt, which is over; this worker serves on
    refused_table,  // a: image pid, b: HandOverEnd, c: a number that belongs to it; the image exits
};

// Why a hand-over ended without a commit, as far as one side knows.
enum class HandOverEnd : uint32_t {
    withdrawn,            // somebody else withdrew the attempt: the other message says why
    late,                 // its time limit passed
    peer_gone,            // the other side went away in the middle
    descriptors,          // a descriptor could not be sent, or did not land at its number
    unknown_listener,     // a connection belongs to a listener that the new configuration does not have
    bad_table,            // what was sent does not fit slot memory
    no_standby,           // the new image could not clone its standby
    too_few_descriptors,  // connections and listening sockets are more than the limit allows; c: what they need
    beyond_level,         // something in slot memory needs a later version
    count
};
std::string_view name_of(HandOverEnd end);  // in words

struct Message {
    MessageType type;
    uint32_t a = 0, b = 0, c = 0;
};

// To a standby: MasterControl::dead_pid holds who died in its seat. Real-time numbers are not compile-time
// constants.
inline int holder_died_signal() { return SIGRTMIN + 1; }

// How a slot's processes end of their own will, beside kExitSystem and kExitConfig of a start-up that failed.
inline constexpr int kExitRetired = 0;    // their image is out of service
inline constexpr int kExitLeftSeat = 75;  // a worker that was told TERM: its standby succeeds

// The argument by which a program is executed as an image.
inline constexpr const char* kImageFlag = "--image";

// Where an image finds what the master gave it.
inline constexpr int kControlFd = 3;
inline constexpr int kBoardFd = 4;
inline constexpr int kCountsFd = 5;
inline constexpr int kBundleFd = 6;
inline constexpr int kLogFd = 7;
inline constexpr int kAddressesFd = 8;
inline constexpr int kBuffersFd = 10;
// What an image opens itself (its loop, our epoll set) lies from here to kHandOverFd: always at the same numbers, so that
// no connection of the image before it can be in its way. Up to kFirstListenFd follows what is kept for what is to come.
inline constexpr int kFirstOwnFd = 16;
inline constexpr int kHandOverFd = 32;  // the table comes through it
// From here on lies what may be moved: listening sockets, bundles of former generations, then connections.
inline constexpr int kFirstListenFd = 128;

inline constexpr size_t kMaxBirthSockets = 4096;  // 80 KiB, well below a socket's default send buffer
struct ListenSocket {
    uint32_t listener_id;  // stable id
    int32_t fd;
    uint32_t is_unix;
    uint32_t is_shared;  // by all slots
    uint32_t closing;    // the address is no longer listened on: accept what is queued, then let go
};

// Who has connections, or may get some.
struct BirthOwner {
    uint32_t kind;      // OwnerKind
    uint32_t id;        // stable
    int32_t bundle_fd;  // of the configuration that it stands in; kBundleFd: the one in force
    uint32_t index;     // in its Config::listeners
    uint32_t spread;    // as the next two: only for one that was removed or replaced
    uint32_t spare;
    uint64_t drain_begin_ns;  // monotonic; 0: it is in force
    uint64_t drain_end_ns;    // 0: no limit
};
static_assert(sizeof(ListenSocket) == 20 && sizeof(BirthOwner) == 40);  // they grow at the end only

// One of those below kFirstListenFd.
struct GivenDescriptor {
    std::string name;
    int32_t fd = -1;
};
// All that an image of this version wants.
const std::vector<GivenDescriptor>& known_descriptors();

struct Birth {
    uint32_t image = 0;  // number of this image, for the service word
    uint32_t slot = 0;
    uint32_t slots = 0;  // columns of the shared counts in use
    uint32_t descriptor_limit = 0;
    uint32_t connection_room = 0;  // accepted and dialled ones; what is left of the limit is for all else
    uint32_t log_level = 0;        // log::Level; the command line's goes before the bundle's
    // The image receives the table of the one in service and adopts its connections for `cause`; else it is the slot's
    // first.
    bool is_renewal = false;
    Cause cause = Cause::crash;
    std::vector<BirthOwner> owners;
    std::vector<ListenSocket> sockets;
    std::vector<GivenDescriptor> descriptors;  // what is not known_descriptors is closed
};

struct Received {
    Message message;
    UniqueFd descriptor;  // of replace_log, hand_over, receive_table
    bool is_cut = false;  // it came without its descriptor, for which this process had no number
};

// MSG_DONTWAIT | MSG_NOSIGNAL; a full socket is an Error of its own (timed_out).
Result<void> send_message(int control_fd, const Message& message, int descriptor = -1);
Result<void> send_birth(int control_fd, const Birth& birth);
// Why descriptors that came with a message were cut off (MSG_CTRUNC), asked at once.
Error cut_error();
// Nothing waiting: an Error timed_out; end of file: unavailable; anything malformed: bad_format. A type that is not known
// is no error: whoever reads it says so and goes on.
Result<Received> receive_message(int control_fd);
Result<Birth> receive_birth(int control_fd);

}  // namespace tcpd::slot
