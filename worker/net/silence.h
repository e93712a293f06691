#pragma once

// Whether the other end of a TCP connection is there, by what the kernel heard of it: who acknowledges anything,
// if only a probe of its closed window, is alive, however little it reads; who acknowledged nothing of what was
// sent for the whole time that keep-alive allows is gone. Idle ones are the kernel's (SO_KEEPALIVE). The kernel's
// own TCP_USER_TIMEOUT is no measure: it counts the time in which a window stays closed, answers or not. Pure;
// worker only. Source: tcp(7), TCP_INFO; net/ipv4/tcp_timer.c, tcp_probe_timer.

#include "daemon/slot/record.h"

namespace tcpd::worker {

// Of a moment. Ticks that have passed since then.
struct PeerSigns {
    bool is_known = false;       // false: no TCP socket, or the kernel is done with it
    bool is_settled = false;     // it has acknowledged all that there was for it
    bool is_unanswered = false;  // a segment or a probe is out that it has not acknowledged
    bool is_shut = false;        // bytes wait for it, and its window has no room for them
    slot::Tick heard = 0;        // since anything came from it
    slot::Tick sent = 0;         // since bytes went out to it
};

struct Patience {
    slot::Tick gone = 0;         // so long nothing may be heard of who is to answer
    slot::Tick slow_reader = 0;  // so long a window may be closed; 0: no limit
    // Between two looks: what is to end after a time is seen within it.
    slot::Tick period() const;
};

// What is sent has so long to be answered, whatever was heard before.
inline constexpr slot::Tick kAnswerTicks = 60;  // 1 s

struct PeerVerdict {
    enum class What : uint8_t { settled, waits, slow, gone };
    What what = What::waits;
    slot::Tick again = 0;  // of `waits`: until the next look
    bool operator==(const PeerVerdict&) const = default;
};
// `unanswered`: how long ago the look was that saw this for the first time, without an answer since.
PeerVerdict judge(const PeerSigns& signs, const Patience& patience, slot::Tick unanswered);

}  // namespace tcpd::worker
