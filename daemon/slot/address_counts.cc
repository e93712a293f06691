#include "daemon/slot/address_counts.h"

#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "daemon/base/process.h"

namespace tcpd::slot {

namespace {

constexpr char kAddressMagic[8] = {'T', 'C', 'P', 'D', 'A', 'D', 'D', 'R'};
constexpr uint32_t kAddressFormat = 1;  // of its own: slot memory may change without it
constexpr uint32_t kLeastLog2 = 8;      // a page
constexpr uint32_t kMostLog2 = 24;
// A table is at most half full, where a run of so many has a probability below 10^-40.
constexpr uint64_t kMostProbes = 512;

uint32_t log2_for(uint64_t entries) {
    const auto bits = static_cast<uint32_t>(std::bit_width(std::max<uint64_t>(entries, 1) - 1));
    return std::clamp(bits, kLeastLog2, kMostLog2);
}

Error bad_counts(std::string reason) {
    return Error{
        .code = ErrorCode::bad_format, .doing = "map the counts of addresses", .reason = std::move(reason)};
}

uint64_t read_big_endian(const uint8_t* bytes) {
    uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | bytes[i];
    return value;
}

}  // namespace

uint64_t AddressCounts::bytes_for(uint32_t log2_most) {
    return kPageBytes + (uint64_t{kMaxSlots} * 2 * sizeof(Entry) << log2_most);
}

Result<UniqueFd> AddressCounts::create(uint32_t most) {
    Head head{};
    std::memcpy(head.magic, kAddressMagic, sizeof head.magic);
    head.format = kAddressFormat;
    head.log2_most = log2_for(uint64_t{most} * 2);
    if (::getrandom(&head.key, sizeof head.key, 0) != static_cast<ssize_t>(sizeof head.key))
        return system_error(errno, "draw a key for the counts of addresses");
    UniqueFd fd = make_sealed_memfd("tcpd-addresses", bytes_for(head.log2_most));
    if (!fd) return system_error(errno, "create the counts of addresses");
    if (::pwrite(fd.get(), &head, sizeof head, 0) != static_cast<ssize_t>(sizeof head))
        return system_error(errno, "write the head of the counts of addresses");
    return fd;
}

Result<AddressCounts> AddressCounts::map(int fd) {
    struct stat status {};
    Head head{};
    if (::fstat(fd, &status) != 0) return system_error(errno, "look at the counts of addresses");
    if (::pread(fd, &head, sizeof head, 0) != static_cast<ssize_t>(sizeof head))
        return bad_counts("they are too short for a head");
    if (std::memcmp(head.magic, kAddressMagic, sizeof head.magic) != 0)
        return bad_counts("the magic number is wrong");
    if (head.format != kAddressFormat)
        return bad_counts("their format is " + std::to_string(head.format) + ", this tcpd knows " +
                          std::to_string(kAddressFormat));
    const bool fits = head.log2_most >= kLeastLog2 && head.log2_most <= kMostLog2 &&
                      static_cast<uint64_t>(status.st_size) == bytes_for(head.log2_most);
    if (!fits) return bad_counts("they have " + std::to_string(status.st_size) + " bytes");
    const auto bytes = static_cast<uint64_t>(status.st_size);
    void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED) return system_error(errno, "map the counts of addresses");
    ::madvise(base, bytes, MADV_DONTDUMP);
    return AddressCounts(static_cast<char*>(base), bytes, head.log2_most);
}

AddressCounts::AddressCounts(char* base, uint64_t bytes, uint32_t log2_most)
    : base_(base), bytes_(bytes), log2_most_(log2_most), key_(head().key) {}

AddressCounts::AddressCounts(AddressCounts&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      bytes_(other.bytes_),
      log2_most_(other.log2_most_),
      key_(other.key_),
      slot_(other.slot_),
      place_(other.place_),
      entries_(std::exchange(other.entries_, nullptr)),
      held_(other.held_),
      is_public_(other.is_public_) {}

AddressCounts::~AddressCounts() {
    if (base_ != nullptr) ::munmap(base_, bytes_);
}

uint64_t AddressCounts::key_of_name(uint32_t listener, std::string_view name) const {
    uint64_t hash = sip_hash(key_, listener, name.size(), ~uint64_t{0});  // as no address is hashed
    for (; !name.empty(); name.remove_prefix(std::min<size_t>(name.size(), 8))) {
        uint64_t word = 0;
        std::memcpy(&word, name.data(), std::min<size_t>(name.size(), 8));
        hash = sip_hash(key_, hash, word, ~uint64_t{0});
    }
    return hash == 0 ? 1 : hash;
}

// An IPv4 address is one address in whatever form it comes: a socket for both families has them mapped.
uint64_t AddressCounts::key_of(uint32_t listener, uint8_t family, const uint8_t* address) const {
    constexpr uint64_t kMapped = 0xFFFF;
    uint64_t high = 0, low = 0;
    if (family == 4) {
        low = kMapped << 32 | read_big_endian(address) >> 32;
    } else if (family == 6) {
        high = read_big_endian(address);
        low = read_big_endian(address + 8);
        if (high != 0 || low >> 32 != kMapped) low = 0;
    } else {
        return 0;
    }
    const uint64_t key = sip_hash(key_, high, low, listener);
    return key == 0 ? 1 : key;
}

// -- one table

AddressCounts::Entry* AddressCounts::table(uint32_t slot, Place place) const {
    const uint64_t half_bytes = sizeof(Entry) << log2_most_;
    return reinterpret_cast<Entry*>(base_ + kPageBytes + (uint64_t{slot} * 2 + place.half) * half_bytes);
}

// What is read in shared memory may be anything.
bool AddressCounts::is_sound(Place place) const {
    return place.log2_entries >= kLeastLog2 && place.log2_entries <= log2_most_;
}

AddressCounts::Found AddressCounts::find(Entry* entries, Place place, uint64_t key) const {
    const uint64_t mask = place.entries() - 1;
    const uint64_t most = std::min(kMostProbes, place.entries());
    for (uint64_t probe = 0; probe < most; ++probe) {
        Entry& entry = entries[(key + probe) & mask];
        const uint64_t found = entry.key.load(std::memory_order_acquire);
        if (found == key) return {&entry, true};
        if (found == 0) return {&entry, false};
    }
    return {nullptr, false};
}

// Gives its pages back as well. What is there is not known: a predecessor may have died while it filled it.
void AddressCounts::clear(uint32_t slot, Place place) const {
    void* begin = table(slot, place);
    const uint64_t bytes = place.entries() * sizeof(Entry);
    if (::madvise(begin, bytes, MADV_REMOVE) != 0) std::memset(begin, 0, bytes);
}

// Its pages in one call rather than by a fault for each, which is most of what it costs to fill a table.
// MADV_POPULATE_WRITE came with Linux 5.14; it changes no byte.
void AddressCounts::clear_and_map(uint32_t slot, Place place) const {
    constexpr int kPopulateWrite = 23;
    clear(slot, place);
    ::madvise(table(slot, place), place.entries() * sizeof(Entry), kPopulateWrite);
}

uint64_t AddressCounts::total(uint64_t key, uint32_t slots) const {
    uint64_t sum = 0;
    for (uint32_t slot = 0; slot < std::min(slots, kMaxSlots); ++slot) {
        const Place place = Place::unpack(head().places[slot].load(std::memory_order_acquire));
        if (!is_sound(place)) continue;
        const Found found = find(table(slot, place), place, key);
        if (found.is_there) sum += found.entry->count.load(std::memory_order_relaxed);
    }
    return sum;
}

// -- the own table

void AddressCounts::begin_table(uint32_t slot, uint32_t expected) {
    slot_ = slot;
    const Place before = Place::unpack(head().places[slot].load(std::memory_order_relaxed));
    place_ = {std::min(log2_for(uint64_t{expected} * 2 + 1), log2_most_), before.half ^ 1};
    clear_and_map(slot_, place_);
    entries_ = table(slot_, place_);
    held_ = 0;
    is_public_ = false;
}

void AddressCounts::publish_table() {
    if (entries_ == nullptr || is_public_) return;
    is_public_ = true;
    const Place before =
        Place::unpack(head().places[slot_].exchange(place_.pack(), std::memory_order_acq_rel));
    if (is_sound(before) && before.half != place_.half) clear(slot_, before);
}

bool AddressCounts::add(uint64_t key) {
    if (key == 0) return true;
    if (entries_ == nullptr) return false;
    if (held_ * 2 >= place_.entries() && place_.log2_entries < log2_most_) make_room();
    const Found found = find(entries_, place_, key);
    if (found.entry == nullptr) return false;
    if (found.is_there) {
        const uint32_t count = found.entry->count.load(std::memory_order_relaxed);
        found.entry->count.store(count + 1, std::memory_order_relaxed);
        return true;
    }
    ++held_;
    found.entry->count.store(1, std::memory_order_relaxed);
    found.entry->key.store(key, std::memory_order_release);
    return true;
}

void AddressCounts::remove(uint64_t key) {
    if (key == 0 || entries_ == nullptr) return;
    const Found found = find(entries_, place_, key);
    if (!found.is_there) return;
    const uint32_t count = found.entry->count.load(std::memory_order_relaxed);
    if (count > 1) return found.entry->count.store(count - 1, std::memory_order_relaxed);
    --held_;
    free_entry(static_cast<uint64_t>(found.entry - entries_));
}

// What stands behind it in the same run moves up if it may stand there, so that no look ends too early.
void AddressCounts::free_entry(uint64_t at) {
    const uint64_t mask = place_.entries() - 1, begin = at;
    for (uint64_t step = 1; step <= mask; ++step) {
        const uint64_t next = (begin + step) & mask;
        const uint64_t key = entries_[next].key.load(std::memory_order_relaxed);
        if (key == 0) break;
        if (((next - key) & mask) < ((next - at) & mask)) continue;
        entries_[at].count.store(entries_[next].count.load(std::memory_order_relaxed),
                                 std::memory_order_relaxed);
        entries_[at].key.store(key, std::memory_order_release);
        at = next;
    }
    entries_[at].key.store(0, std::memory_order_release);
}

// The other half holds the predecessor's table for as long as the own one is not published: it is given up
// for it, which only a slot comes to whose counters were wrong.
void AddressCounts::make_room() {
    if (!is_public_) head().places[slot_].store(0, std::memory_order_release);
    const Place before = place_;
    Entry* const old = entries_;
    place_ = {before.log2_entries + 1, before.half ^ 1};
    clear_and_map(slot_, place_);
    entries_ = table(slot_, place_);
    for (uint64_t i = 0; i < before.entries(); ++i) {
        const uint64_t key = old[i].key.load(std::memory_order_relaxed);
        const Found found = key == 0 ? Found{nullptr, false} : find(entries_, place_, key);
        if (found.entry == nullptr) continue;
        found.entry->count.store(old[i].count.load(std::memory_order_relaxed), std::memory_order_relaxed);
        found.entry->key.store(key, std::memory_order_relaxed);
    }
    if (is_public_) head().places[slot_].store(place_.pack(), std::memory_order_release);
    clear(slot_, before);
}

void AddressCounts::drop_table(uint32_t slot) {
    if (head().places[slot].load(std::memory_order_relaxed) == 0) return;
    head().places[slot].store(0, std::memory_order_release);
    for (const uint32_t half : {0U, 1U}) clear(slot, {log2_most_, half});
    if (slot == slot_) entries_ = nullptr;
}

}  // namespace tcpd::slot
