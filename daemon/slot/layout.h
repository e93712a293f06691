#pragma once

// Slot memory byte by byte: the contract between worker, standby, successor images and master. Two memfds a slot, sealed
// against growing and shrinking, sparse: a part takes no page until it is used. The board has what is counted, steered
// and recorded; the buffers have what clients sent and the log's lines. A process maps them one behind the other, and an
// offset in a record or the journal is one in that range, never a pointer. The master maps the board alone, read-only
// but for what it writes, and never trusts what it reads. If a process dies anywhere, page contents stay; Journal says
// what was in hand. x86 keeps the order of stores; every publishing store is a release store all the same.
// Which parts there are, and how later versions add theirs: parts.h. Source: memfd_create(2), fcntl(2) "File Sealing".

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "daemon/slot/parts.h"
#include "daemon/slot/reason.h"
#include "daemon/slot/record.h"
#include "daemon/slot/request.h"
#include "daemon/slot/session_record.h"

namespace tcpd::slot {

inline constexpr char kMagic[8] = {'T', 'C', 'P', 'D', 'S', 'L', 'O', 'T'};
// Never counted up again: later versions add parts or fields, and count up kLevel.
inline constexpr uint32_t kFormat = 4;
inline constexpr uint32_t kBirthFormat = 5;  // of what an image is told and says
inline constexpr uint32_t kMaxSlots = 256;
inline constexpr uint32_t kMaxListeners = 256;  // stable ids, names in use at one time
inline constexpr uint32_t kMaxUpstreams = 256;
inline constexpr uint32_t kMaxNameBytes = 63;
inline constexpr uint32_t kSmallChunkBytes = 4096;
inline constexpr uint32_t kLargeChunkBytes = 64 * 1024;
inline constexpr uint32_t kRecentClones = 16;
inline constexpr uint32_t kMaxRedo = 48;
// Beside listening sockets and connections, of each slot: so that one with all the connections that it may have can
// still renew, replace its log and make its epoll set anew.
inline constexpr uint32_t kReservedDescriptors = 64;
// A worker, or a whole slot, that lived for less is taken for one that would die at once again.
inline constexpr uint64_t kShortLifeNs = 200'000'000;

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
    // The least level of all programs that may still serve this slot, one that a way back may lead to included. A
    // program begins by its own choice only what that level knows.
    std::atomic<uint32_t> level;
    uint64_t spare[506];
};
static_assert(sizeof(MasterControl) == kPageBytes);

// Of a listener or an upstream, by stable id; writer: the master, before the image that uses it. Of a level, by its
// number; writer: the holder of the seat.
struct Name {
    char text[kMaxNameBytes + 1];
};

// Writer: the holder of the seat (clone_tids: the kernel, CLONE_PARENT_SETTID). Readers: successor, master.
struct WorkerControl {
    // Monotonic; each turn of the loop, and at least each quarter of the watchdog.
    std::atomic<uint64_t> heartbeat_ns;
    std::atomic<uint64_t> seat_taken_ns;  // monotonic; of this holder
    std::atomic<uint64_t> next_connection;
    std::atomic<uint32_t> short_lives;  // deaths in a row after less than kShortLifeNs in the seat
    std::atomic<uint32_t> seats_taken;  // holders so far, over all images
    // Of a holder that gives its seat away in its fault handler; the next clears it.
    std::atomic<uint32_t> fault_signal;
    std::atomic<uint32_t> high_fd;                 // no connection was ever at or above this descriptor
    std::atomic<uint32_t> small_high, large_high;  // chunks of each size that were ever taken
    // The highest level that a record needs, and what belongs to no connection; raised before they are, never lowered
    // while the slot serves.
    std::atomic<uint32_t> needs;
    std::atomic<uint32_t> clones;  // of this slot so far; clone_tids[clones % kRecentClones] is written next
    uint32_t clone_tids[kRecentClones];
    uint32_t attempt_clone_tid;  // as clone_tids, of an image that has not committed yet
    uint32_t spare_word;
    uint64_t spare[496];
};
static_assert(sizeof(WorkerControl) == kPageBytes);

inline constexpr size_t kReasons = static_cast<size_t>(CloseReason::count);

// Writer: the worker, through the redo log where exactness needs it. Readers: master, status. What each word counts
// stands in metrics.def.
struct ListenerCounters {
#define TCPD_LISTENER_METRIC(name, ...) uint64_t name;
#define TCPD_LISTENER_METRICS(name, values, places, ...) uint64_t name[places];
#include "daemon/slot/metrics.def"
    uint64_t spare[440];
};
static_assert(sizeof(ListenerCounters) == kPageBytes);

// What no listener can be named for.
struct SlotCounters {
#define TCPD_SLOT_METRIC(name, ...) uint64_t name;
#define TCPD_SLOT_METRICS(name, values, places, ...) uint64_t name[places];
#include "daemon/slot/metrics.def"
    uint64_t spare[997];
};
static_assert(sizeof(SlotCounters) == 2 * kPageBytes);

// Of an upstream, by stable id. Nothing is counted by upstream yet.
struct UpstreamCounters {
    uint64_t spare[512];
};

// What the worker has in hand. `word` is Phase << 56 | count; see journal.h for who stores what in which
// order.
struct RedoEntry {
    // In slot memory, 8-aligned; SlotMemory::may_change says where.
    uint64_t offset;
    uint64_t value;
};
struct JournalPage {
    std::atomic<uint64_t> word;
    // In hand; kept after idle, so that a successor re-arms and advances both. 0: none.
    int32_t source_fd, target_fd;
    uint32_t source_generation, target_generation;
    uint64_t buffer_at;  // offset that recv writes to
    uint64_t send_at;    // offset that send reads from
    uint32_t buffer_bytes;
    uint32_t send_bytes;
    uint64_t receive_chunk;   // id of the chunk that the worker receives into; 0: none yet
    uint64_t last_place;      // where the last recovery began: `word`, and handled_bytes in its spare bits
    uint32_t recovery_tries;  // recoveries in a row that began there and were not got through
    uint32_t received_bytes;  // what the last recv brought; stored before `word` says `received`
    uint64_t handled_bytes;   // of them, done with; through the redo log once some are
    uint64_t spare[22];
    RedoEntry redo[kMaxRedo];
    uint64_t rest[384];
};
static_assert(sizeof(JournalPage) == kPageBytes && offsetof(JournalPage, redo) == 256);

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
