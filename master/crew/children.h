#pragma once

// The processes that are children of the master, by pid: of which slot, in which part, for how long. Master
// only. A pid that a slot names is taken only if waitid knows it as a child and no other slot has it: slot
// memory and control messages are not trusted. Owns no process; if the master dies, they live on without it.
// Source: waitid(2), WNOWAIT; kill(2).

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tcpd::master {

enum class Part : uint8_t {
    image,    // executed, has not taken its seat yet
    worker,   // holds the seat
    standby,  // waits for it
    former,   // held the seat; a successor holds it now
};

struct Child {
    pid_t pid = 0;
    uint32_t slot = 0;
    uint64_t table = 0;  // which of the slot's memories, one after another
    uint32_t image = 0;  // which image it is a process of
    Part part = Part::image;
    bool held_seat = false;
    uint64_t known_ns = 0;  // since when
};

// What waitid tells of a dead child.
struct Death {
    pid_t pid = 0;
    int code = 0, status = 0;  // si_code, si_status
    bool is_clean() const;     // exited with 0
    std::string text() const;  // "exited with 3", "killed by SIGSEGV, core dumped"
};

class Children {
public:
    // A dead child that is not reaped yet, so that its pid means it and nobody else.
    static std::optional<Death> look();
    static void reap(pid_t pid);
    // A child that was stopped since this was asked last; a debugger's stops are not seen.
    struct Stop {
        pid_t pid = 0;
        int signal_number = 0;
    };
    static std::optional<Stop> look_stopped();
    static bool is_child(pid_t pid);

    // False: it is no child of ours, or it belongs to another slot.
    bool claim(const Child& wanted, uint64_t now);
    const Child* find(pid_t pid) const;
    void forget(pid_t pid) { children_.erase(pid); }
    std::vector<pid_t> of_slot(uint32_t slot) const;
    std::vector<Child> all() const;
    void take_over(const std::vector<Child>& children);
    bool empty() const { return children_.empty(); }
    // False: it is no child of this slot, or gone.
    bool send_signal(pid_t pid, uint32_t slot, int signal_number) const;

private:
    std::map<pid_t, Child> children_;
};

// "worker 0", "standby 1", "image 2".
std::string describe(const Child& child);

}  // namespace tcpd::master
