#pragma once

// Slot memory byte by byte: the contract between worker, standby, successor images and master. A memfd per
// slot, sealed against growing and shrinking, sparse: a part takes no page until it is used. Offsets, never
// pointers. The master maps all of it read-only but for MasterControl, and never trusts what it reads. If a
// process dies anywhere, page contents stay; Journal says what was in hand. x86 keeps the order of stores;
// every publishing store is a release store all the same. Source: memfd_create(2), fcntl(2) "File Sealing".

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "daemon/slot/reason.h"
#include "daemon/slot/record.h"
#include "daemon/slot/session_record.h"

namespace tcpd::slot {

inline constexpr char kMagic[8] = {'T', 'C', 'P', 'D', 'S', 'L', 'O', 'T'};
inline constexpr uint32_t kFormat = 3;
inline constexpr uint32_t kBirthFormat = 4;  // of what an image is told at its start, and says
inline constexpr uint32_t kMaxSlots = 256;
inline constexpr uint32_t kMaxListeners = 256;  // stable ids, names in use at one time
inline constexpr uint32_t kMaxNameBytes = 63;
inline constexpr uint32_t kSmallChunkBytes = 4096;
inline constexpr uint32_t kLargeChunkBytes = 64 * 1024;
inline constexpr uint32_t kRecentClones = 16;
inline constexpr uint32_t kMaxRedo = 24;
inline constexpr uint32_t kPageBytes = 4096;
// Beside listening sockets and connections, of each slot: so that one with all the connections that it may have can
// still renew, replace its log and make its epoll set anew.
inline constexpr uint32_t kReservedDescriptors = 64;
// A worker, or a whole slot, that lived for less is taken for one that would die at once again.
inline constexpr uint64_t kShortLifeNs = 200'000'000;

// Written once by the master, before any image sees it.
struct Header {
    char magic[8];
    uint32_t format;
    uint32_t header_bytes;
    uint64_t slot_bytes;
    uint32_t slot_number;
    uint32_t record_count;  // index = descriptor
    uint32_t record_bytes;
    uint32_t small_count, large_count;
    uint32_t small_bytes, large_bytes;
    uint32_t reserved;
    uint64_t master_control_at, worker_control_at, scoreboard_at, journal_at, log_ring_at;
    uint64_t records_at, sessions_at, chunk_links_at, small_chunks_at, large_chunks_at;
    uint64_t log_ring_bytes;
};
static_assert(sizeof(Header) <= kPageBytes);

// The one word that decides which image owns the slot. Begin (s,0)->(s,t), withdraw (s,t)->(s,0), commit
// (s,t)->(t,0) are one compare-and-swap each, by the master or an image; (0,0): the slot is retired, whoever
// wakes exits.
struct ServiceWord {
    uint32_t in_service = 0;
    uint32_t attempt = 0;
    constexpr uint64_t pack() const { return uint64_t{in_service} << 32 | attempt; }
    static constexpr ServiceWord unpack(uint64_t word) {
        return {static_cast<uint32_t>(word >> 32), static_cast<uint32_t>(word)};
    }
};

// Close what is open evenly over the time; leave those who wait in a queue that all slots share to the others.
inline constexpr uint32_t kDrainSpreads = 1, kDrainLeavesQueues = 2;

// Writer: the master, but for `word`, which both sides compare and swap. Readers: worker, standby.
struct MasterControl {
    std::atomic<uint64_t> word;  // ServiceWord
    // A seat's holder that waitid showed dead; stored before the standby is signalled. A new holder that
    // finds its own number here, of an earlier process, sets it to 0.
    std::atomic<uint32_t> dead_pid;
    // How many holders of the seat were reaped: nothing of them holds files any more.
    std::atomic<uint32_t> reaped_seats;
    std::atomic<uint64_t> drain_begin_ns;  // monotonic; stored last of the three. 0: no drain
    std::atomic<uint64_t> drain_end_ns;    // 0 with drain_begin_ns set: no limit
    std::atomic<uint32_t> drain_manner;    // kDrain...
    std::atomic<uint32_t> accept_paused;   // 1: this slot accepts nothing (it lost its standby) until it is 0
    // Tables beside the one in service that hold, or may hold, copies of the connections: of an attempt that
    // was begun, of an image that went out of service. Counted up before the word is, down once the table is
    // gone. Not 0: a close alone does not end a connection, nor its registration.
    std::atomic<uint32_t> other_tables;
    // By stable id; written before the image that uses it.
    char listener_names[kMaxListeners][kMaxNameBytes + 1];
};

enum class SeatState : uint32_t { none, starting, backing_off, adopting, serving, draining, drained };

// Writer: the holder of the seat (clone_tids: the kernel, CLONE_PARENT_SETTID). Readers: successor, master.
struct WorkerControl {
    // Monotonic; each turn of the loop, and at least each quarter of the watchdog.
    std::atomic<uint64_t> heartbeat_ns;
    std::atomic<uint32_t> holder_pid;
    std::atomic<uint32_t> seat_state;     // SeatState
    std::atomic<uint64_t> seat_taken_ns;  // monotonic; of this holder
    std::atomic<uint64_t> backoff_until_ns;
    std::atomic<uint32_t> short_lives;  // deaths in a row after less than kShortLifeNs in the seat
    std::atomic<uint32_t> seats_taken;  // holders so far, over all images
    // Of a holder that gives its seat away in its fault handler; the next clears it.
    std::atomic<uint32_t> fault_signal;
    std::atomic<uint32_t> clones;  // of this slot so far; clone_tids[clones % kRecentClones] is written next
    uint32_t clone_tids[kRecentClones];
    uint32_t attempt_clone_tid;      // as clone_tids, of an image that has not committed yet
    std::atomic<int32_t> poller_fd;  // our own epoll descriptor in the table; 0: none yet
    std::atomic<uint32_t> high_fd;   // no connection was ever at or above this descriptor
    std::atomic<uint64_t> next_connection;
    std::atomic<uint64_t> service_started_ns;      // when the image in service began to serve
    std::atomic<uint32_t> small_high, large_high;  // chunks of each size that were ever taken
};

inline constexpr size_t kReasons = static_cast<size_t>(CloseReason::count);

// Writer: the worker, through the redo log where exactness needs it. Readers: master, status. What each word counts
// stands in metrics.def.
struct ListenerCounters {
#define TCPD_LISTENER_METRIC(name, ...) uint64_t name;
#define TCPD_LISTENER_METRICS(name, values, places, ...) uint64_t name[places];
#include "daemon/slot/metrics.def"
    uint64_t spare[24];
};
static_assert(sizeof(ListenerCounters) == 768);

struct Scoreboard {
    ListenerCounters listeners[kMaxListeners];  // by stable id
#define TCPD_SLOT_METRIC(name, ...) uint64_t name;
#define TCPD_SLOT_METRICS(name, values, places, ...) uint64_t name[places];
#include "daemon/slot/metrics.def"
};

// What the worker has in hand. `word` is Phase << 56 | count; see journal.h for who stores what in which
// order.
struct RedoEntry {
    // In slot memory, 8-aligned, inside records, sessions, chunk links, worker control or scoreboard.
    uint64_t offset;
    uint64_t value;
};
struct JournalPage {
    std::atomic<uint64_t> word;
    // In hand; kept after idle, so that a successor re-arms and advances both. 0: none.
    int32_t source_fd, target_fd;
    uint32_t source_generation, target_generation;
    uint64_t buffer_at;  // offset in slot memory that recv writes to
    uint64_t send_at;    // offset in slot memory that send reads from
    uint32_t buffer_bytes;
    uint32_t send_bytes;
    uint64_t receive_chunk;   // id of the chunk that the worker receives into; 0: none yet
    uint64_t last_place;      // where the last recovery began: `word`, and handled_bytes in its spare bits
    uint32_t recovery_tries;  // recoveries in a row that began there and were not got through
    uint32_t received_bytes;  // what the last recv brought; stored before `word` says `received`
    uint64_t handled_bytes;   // of them, done with; through the redo log once some are
    RedoEntry redo[kMaxRedo];
};

// Log lines not yet written. Writer and reader: the worker; a successor writes what is left.
struct LogRing {
    std::atomic<uint32_t> used;  // bytes in text[]; stored after them
    uint32_t spare;
    char text[];
};
inline constexpr uint32_t kLogRingBytes = 64 * 1024;

// How a chunk hangs in a chain. Chunk id 0: none. Ids 1..small_count are small, the next large_count are
// large. Free lists are not stored; whoever adopts rebuilds them from the chains that records name.
struct ChunkLink {
    uint64_t next;   // id in the low half
    uint64_t range;  // begin << 32 | end, bytes inside the chunk
};

static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);

}  // namespace tcpd::slot
