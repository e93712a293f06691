#include "daemon/slot/parts.h"

#include <fmt/format.h>

#include <algorithm>

namespace tcpd::slot {

namespace {

constexpr uint64_t kGuardBytes = kPageBytes;  // behind each part: a wild write that runs on meets it
constexpr uint64_t kMostElements = uint64_t{1} << 32;
constexpr uint64_t kMostElementBytes = uint64_t{1} << 20;

// No product of the two overflows.
bool is_sane(const Part& part) {
    return part.kind != PartKind::none && part.element_bytes != 0 &&
           part.element_bytes <= kMostElementBytes && part.count <= kMostElements;
}

std::string fault_of(const Part& part, uint64_t from, uint64_t file_bytes) {
    const auto kind = static_cast<uint32_t>(part.kind);
    if (!is_sane(part)) return fmt::format("its part {} makes no sense", kind);
    if (part.at % kPageBytes != 0 || part.at < from || part.at > file_bytes ||
        bytes_of(part) > file_bytes - part.at)
        return fmt::format("its part {} lies where it can't", kind);
    return {};
}

}  // namespace

const char* name_of_level(uint8_t level) {
    switch (level) {
        case 1: return "the first layout";
        case 2: return "a trial";
        default: return "";
    }
}

std::string Parts::find_fault(const PartsHeader& header, uint64_t file_bytes) {
    const uint32_t count = header.part_count;
    if (header.bytes != file_bytes)
        return fmt::format("it has {} bytes, its header says {}", file_bytes, header.bytes);
    if (count > kMaxParts) return fmt::format("it names {} parts, over the limit of {}", count, kMaxParts);
    uint64_t from = kPageBytes;
    for (uint32_t i = 0; i < count; ++i) {
        const Part& part = header.parts[i];
        if (std::string fault = fault_of(part, from, file_bytes); !fault.empty()) return fault;
        for (uint32_t j = 0; j < i; ++j) {
            if (header.parts[j].kind == part.kind)
                return fmt::format("it names its part {} twice", static_cast<uint32_t>(part.kind));
        }
        from = part.at + bytes_of(part) + kGuardBytes;
    }
    return {};
}

std::string Parts::fault_against(std::span<const Part> own) const {
    for (const Part& wanted : own) {
        const Part* part = find(wanted.kind);
        const auto kind = static_cast<uint32_t>(wanted.kind);
        if (part == nullptr && wanted.level == 1) return fmt::format("its part {} is missing", kind);
        if (part == nullptr) continue;
        if (part->element_bytes != wanted.element_bytes || part->count != wanted.count)
            return fmt::format("its part {} has {} elements of {} bytes, not {} of {}", kind, part->count,
                               part->element_bytes, wanted.count, wanted.element_bytes);
    }
    return {};
}

Parts::Parts(const PartsHeader& header) : count_(std::min(header.part_count, kMaxParts)) {
    std::copy_n(header.parts, count_, parts_);
}

const Part* Parts::find(PartKind kind) const {
    const auto found =
        std::find_if(all().begin(), all().end(), [kind](const Part& part) { return part.kind == kind; });
    return found == all().end() ? nullptr : &*found;
}

uint64_t Parts::end() const {
    if (count_ == 0) return kPageBytes;
    const Part& last = parts_[count_ - 1];
    return last.at + bytes_of(last) + kGuardBytes;
}

std::optional<Part> Parts::place(Part wanted, uint64_t memory_bytes) const {
    wanted.at = end();
    const uint64_t needed = bytes_of(wanted) + kGuardBytes;
    if (count_ == kMaxParts || memory_bytes < wanted.at || memory_bytes - wanted.at < needed)
        return std::nullopt;
    return wanted;
}

}  // namespace tcpd::slot
