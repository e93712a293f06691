// A renewal with a death, a crash or a hang at each of its steps, on either side: the slot has one image in
// service at each instant, and no connection loses a byte.

#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/fault_walk.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

using fault::Action;
using fault::Point;

// Whether the old worker acts, whose slot is then tried once more, or the new image.
constexpr struct Step {
    Point point;
    bool ends_well;
} kSteps[] = {{Point::renewal_parked_not_sent, true},
              {Point::renewal_half_sent, true},
              {Point::renewal_received_not_committed, false},
              {Point::renewal_committed_not_adopted, true}};

std::string config() {
    std::string text = walk_config(echo, plain, "");
    const std::string at = "max: 1ms}";
    return text.replace(text.find(at), at.size(), "max: 1ms}, watchdog: 2s");
}

struct Slot {
    FaultArea area;
    TestDaemon daemon;
    ExactPeer peer;

    explicit Slot(unsigned connections = 300)
        : daemon(DaemonOptions{.config = config(), .environment = {area.environment()}}) {
        peer.open(daemon.address("it"), Plan{.up_bytes = kEndless, .window = 3000, .piece = 1000},
                  connections);
        peer.run_bytes(2'000'000);
    }
    uint64_t image() const { return daemon.status().slots().at(0).image; }
    uint64_t attempt() const { return daemon.status().slots().at(0).attempt; }
    // Asks for a reload by signal, lets traffic go on until `holds`.
    void reload_until(const std::string& what, const std::function<bool()>& holds) {
        daemon.send(SIGHUP);
        peer.run_until(what, holds, 30s);
        area.disarm();
    }
    size_t reloads() const {
        return daemon.count_in_err("the new configuration is in force") +
               daemon.count_in_err("the reload failed");
    }
    void check_whole() {
        peer.run_bytes(1'000'000);
        const uint64_t before = image();
        const size_t failed = daemon.count_in_err("the reload failed");
        const size_t done = reloads();
        reload_until("a reload without a fault", [&] { return reloads() > done; });
        BOOST_CHECK_EQUAL(daemon.count_in_err("the reload failed"), failed);
        BOOST_CHECK_GT(image(), before);
        peer.run_bytes(1'000'000);
        peer.wind_down();
        peer.finish();
        check_all_finished(peer.results());
        daemon.wait_complete(1);
        wait_for("the others to be gone", [&] { return daemon.processes().size() == 3; });
        daemon.check_nothing_lost();
    }
};

void die_at(const Step& step, Action action) {
    BOOST_TEST_CONTEXT(fault::name_of(step.point) << " action " << static_cast<int>(action)) {
        Slot slot;
        const uint64_t before = slot.image();
        slot.area.arm(step.point, action);
        slot.reload_until("the reload to end", [&] { return slot.reloads() == 1; });
        BOOST_CHECK_EQUAL(slot.area.acted(step.point), 1U);
        BOOST_CHECK_EQUAL(slot.daemon.count_in_err("the reload failed"), step.ends_well ? 0U : 1U);
        BOOST_CHECK_EQUAL(slot.image() > before, step.ends_well);
        slot.check_whole();
    }
}

void hang_at(const Step& step) {
    BOOST_TEST_CONTEXT(fault::name_of(step.point)) {
        Slot slot(20);
        slot.area.arm(step.point, Action::stop);
        slot.reload_until("the reload to end", [&] { return slot.reloads() == 1; });
        BOOST_CHECK_EQUAL(slot.area.acted(step.point), 1U);
        slot.check_whole();
    }
}

// -- one process stands still at a step while another one is killed

enum class Victim : uint8_t { old_worker, old_standby, image, new_standby, master };
constexpr const char* kVictims[] = {"old worker", "old standby", "image", "new standby", "master"};

// The clone of an image is the later of the two.
pid_t find(Victim victim, const TestDaemon& daemon, const Pids& old) {
    std::vector<pid_t> fresh;
    for (const pid_t pid : daemon.processes()) {
        if (pid != daemon.master() && pid != old.worker && pid != old.standby) fresh.push_back(pid);
    }
    std::sort(fresh.begin(), fresh.end());
    switch (victim) {
        case Victim::old_worker: return old.worker;
        case Victim::old_standby: return old.standby;
        case Victim::image: return fresh.empty() ? 0 : fresh.front();
        case Victim::new_standby: return fresh.size() < 2 ? 0 : fresh.back();
        case Victim::master: return daemon.master();
    }
    return 0;
}

bool contains(const std::vector<pid_t>& list, pid_t pid) {
    return std::find(list.begin(), list.end(), pid) != list.end();
}

bool is_stopped_side(const Step& step, Victim victim) {
    const bool old_side =
        step.point == Point::renewal_parked_not_sent || step.point == Point::renewal_half_sent;
    return victim == (old_side ? Victim::old_worker : Victim::image);
}

// False where the step has no such victim yet, which only a new standby may be.
bool cross(const Step& step, Victim victim) {
    BOOST_TEST_CONTEXT(fault::name_of(step.point) << ", killed: " << kVictims[static_cast<size_t>(victim)]) {
        Slot slot(100);
        TestDaemon& daemon = slot.daemon;
        daemon.wait_complete(1);
        const Pids old = daemon.pids(0);
        slot.area.arm(step.point, Action::stop);
        daemon.send(SIGHUP);
        slot.peer.run_until("one to stand still", [&] { return slot.area.acted(step.point) == 1; });
        slot.area.disarm();
        const pid_t killed = find(victim, daemon, old);
        const pid_t still =
            find(is_stopped_side(step, Victim::image) ? Victim::image : Victim::old_worker, daemon, old);
        BOOST_REQUIRE((killed != 0 || victim == Victim::new_standby));
        if (victim == Victim::master) daemon.expect_any_exit();
        if (killed != 0) {
            kill(killed, SIGKILL);
            wait_for("its end", [&] { return !contains(daemon.processes(), killed); });
        }
        kill(still, SIGCONT);
        if (victim != Victim::master) {
            slot.peer.run_until(
                "the reload to end", [&] { return slot.reloads() == 1; }, 30s);
            slot.check_whole();
            return killed != 0;
        }
        slot.peer.run_bytes(1'000'000);
        slot.peer.wind_down();
        slot.peer.finish();
        check_all_finished(slot.peer.results());
        wait_for("all to end", [&] { return daemon.processes().empty(); });
    }
    return true;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(fault_renewal)

BOOST_AUTO_TEST_CASE(another_is_killed_meanwhile) {
    size_t new_standbys = 0;
    for (const Step& step : kSteps) {
        for (const Victim victim : {Victim::old_worker, Victim::old_standby, Victim::image}) {
            if (!is_stopped_side(step, victim)) cross(step, victim);
        }
        new_standbys += cross(step, Victim::new_standby);
    }
    BOOST_CHECK_GT(new_standbys, 0U);
}

BOOST_AUTO_TEST_CASE(the_master_is_killed_meanwhile) {
    for (const Step& step : kSteps) cross(step, Victim::master);
}

BOOST_AUTO_TEST_CASE(one_side_is_killed) {
    for (const Step& step : kSteps) die_at(step, Action::kill);
}

BOOST_AUTO_TEST_CASE(one_side_crashes) {
    for (const Step& step : kSteps) die_at(step, Action::segfault);
}

BOOST_AUTO_TEST_CASE(one_side_exits) {
    for (const Step& step : kSteps) die_at(step, Action::exit);
}

BOOST_AUTO_TEST_CASE(one_side_hangs) {
    for (const Step& step : kSteps) hang_at(step);
}

BOOST_AUTO_TEST_CASE(withdrawals_in_a_row_use_nothing_up) {
    Slot slot(20);
    const uint64_t before = slot.image();
    slot.area.arm(Point::renewal_received_not_committed, Action::kill, 1, 1);
    for (size_t i = 1; i <= times(30, 200); ++i) {
        slot.daemon.send(SIGHUP);
        slot.peer.run_until("a withdrawal", [&] { return slot.reloads() == i; });
    }
    slot.area.disarm();
    BOOST_CHECK_EQUAL(slot.image(), before);
    BOOST_CHECK_EQUAL(slot.attempt(), 0U);
    slot.check_whole();
}

BOOST_AUTO_TEST_SUITE_END()
