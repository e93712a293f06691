#include "daemon/slot/shared_counts.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/process.h"

namespace tcpd::slot {

Result<UniqueFd> SharedCounts::create() {
    UniqueFd fd = make_sealed_memfd("tcpd-counts", kBytes);
    if (!fd) return system_error(errno, "create the shared counts");
    return fd;
}

Result<SharedCounts> SharedCounts::map(int fd) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return system_error(errno, "look at the shared counts");
    if (S_ISREG(status.st_mode) && status.st_size != static_cast<off_t>(kBytes))
        return Error{.code = ErrorCode::bad_format,
                     .doing = "map the shared counts",
                     .reason = "they have " + std::to_string(status.st_size) + " bytes, not " +
                               std::to_string(kBytes)};
    void* cells = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (cells == MAP_FAILED) return system_error(errno, "map the shared counts");
    return SharedCounts(static_cast<std::atomic<uint32_t>*>(cells));
}

SharedCounts::SharedCounts(SharedCounts&& other) noexcept : cells_(std::exchange(other.cells_, nullptr)) {}

SharedCounts::~SharedCounts() {
    if (cells_ != nullptr) ::munmap(cells_, kBytes);
}

uint64_t SharedCounts::total(uint32_t listener, uint32_t slots) const {
    uint64_t sum = 0;
    for (uint32_t slot = 0; slot < std::min(slots, kMaxSlots); ++slot)
        sum += cells_[listener * kMaxSlots + slot].load(std::memory_order_relaxed);
    return sum;
}

}  // namespace tcpd::slot
