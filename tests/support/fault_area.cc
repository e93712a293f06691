#include "tests/support/fault_area.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tcpd::test {
namespace {

uint32_t load(const uint32_t& field) { return __atomic_load_n(&field, __ATOMIC_ACQUIRE); }
void store(uint32_t& field, uint32_t value) { __atomic_store_n(&field, value, __ATOMIC_RELEASE); }

}  // namespace

FaultArea::FaultArea() : path_(directory_ / "faults") {
    const UniqueFd fd(open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    if (!fd || fchmod(fd.get(), 0666) != 0 || ftruncate(fd.get(), sizeof(fault::Area)) != 0) {
        throw Failed("could not make the fault area");
    }
    void* memory = mmap(nullptr, sizeof(fault::Area), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (memory == MAP_FAILED) throw Failed("could not map the fault area");
    area_ = static_cast<fault::Area*>(memory);
}

FaultArea::~FaultArea() { munmap(area_, sizeof(fault::Area)); }

void FaultArea::arm(fault::Point point, fault::Action action, uint32_t countdown, uint32_t every) {
    disarm();
    store(area_->action, static_cast<uint32_t>(action));
    store(area_->countdown, countdown);
    store(area_->every, every);
    store(area_->armed, static_cast<uint32_t>(point) + 1);
}

void FaultArea::change_every(uint32_t every) { store(area_->every, every); }

void FaultArea::arm_two(fault::Point first, fault::Point second, fault::Action action, uint32_t countdown) {
    disarm();
    store(area_->then, static_cast<uint32_t>(second) + 1);
    store(area_->action, static_cast<uint32_t>(action));
    store(area_->countdown, countdown);
    store(area_->every, 0);
    store(area_->armed, static_cast<uint32_t>(first) + 1);
}

void FaultArea::disarm() {
    store(area_->armed, 0);
    store(area_->then, 0);
}

uint32_t FaultArea::passed(fault::Point point) const {
    return load(area_->passed[static_cast<uint32_t>(point)]);
}

uint32_t FaultArea::acted(fault::Point point) const {
    return load(area_->acted[static_cast<uint32_t>(point)]);
}

}  // namespace tcpd::test
