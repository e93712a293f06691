#include "daemon/base/net/address_block.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "daemon/base/text.h"

namespace tcpd {

namespace {

constexpr uint64_t kMappedV4 = 0xFFFF'0000'0000;
constexpr unsigned kV4Offset = 96;
constexpr AddressNumber kFirstV4{0, kMappedV4}, kLastV4{0, kMappedV4 | 0xFFFF'FFFF};

uint64_t read_big_endian(const uint8_t* bytes) {
    uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | bytes[i];
    return value;
}

AddressNumber of_v4(in_addr address) { return {0, kMappedV4 | ntohl(address.s_addr)}; }

AddressNumber of_v6(const in6_addr& address) {
    return {read_big_endian(address.s6_addr), read_big_endian(address.s6_addr + 8)};
}

// The bits behind a prefix, all set.
AddressNumber mask_behind(unsigned prefix_bits) {
    const auto ones = [](unsigned count) { return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1; };
    const unsigned rest = 128 - prefix_bits;
    return {rest > 64 ? ones(rest - 64) : 0, ones(std::min(rest, 64u))};
}

bool is_v4(const AddressBlock& block) {
    return block.first.high == 0 && block.first.low >> 32 == kMappedV4 >> 32 && block.last.high == 0;
}

std::string address_text(AddressNumber number, bool is_v4) {
    char text[INET6_ADDRSTRLEN] = {};
    if (is_v4) {
        const in_addr address{htonl(static_cast<uint32_t>(number.low))};
        return inet_ntop(AF_INET, &address, text, sizeof text);
    }
    in6_addr address{};
    for (int i = 0; i < 8; ++i) {
        address.s6_addr[i] = static_cast<uint8_t>(number.high >> (56 - 8 * i));
        address.s6_addr[8 + i] = static_cast<uint8_t>(number.low >> (56 - 8 * i));
    }
    return inet_ntop(AF_INET6, &address, text, sizeof text);
}

Error wrong(std::string reason) { return {.code = ErrorCode::bad_config, .reason = std::move(reason)}; }

AddressNumber next(AddressNumber number) {
    return {number.high + (number.low == ~uint64_t{0} ? 1 : 0), number.low + 1};
}

}  // namespace

Result<AddressBlock> AddressBlock::parse(std::string_view text) {
    const size_t slash = text.find('/');
    const std::string literal(text.substr(0, slash));
    in_addr v4{};
    in6_addr v6{};
    const bool is_v4_literal = inet_pton(AF_INET, literal.c_str(), &v4) == 1;
    if (!is_v4_literal && inet_pton(AF_INET6, literal.c_str(), &v6) != 1)
        return wrong(quoted(text) +
                     " is not a block of addresses (try 10.0.0.0/8, 2001:db8::/32, 192.0.2.1)");
    const unsigned most = is_v4_literal ? 32 : 128;
    const std::optional<uint64_t> bits = slash == text.npos ? most : parse_number(text.substr(slash + 1));
    if (!bits || *bits > most)
        return wrong(quoted(text) + " has no prefix length of 0 to " + std::to_string(most) +
                     " behind the slash");
    const AddressNumber mask = mask_behind(static_cast<unsigned>(*bits) + (is_v4_literal ? kV4Offset : 0));
    AddressBlock block;
    const AddressNumber given = is_v4_literal ? of_v4(v4) : of_v6(v6);
    block.first = {given.high & ~mask.high, given.low & ~mask.low};
    block.last = {given.high | mask.high, given.low | mask.low};
    if (block.first == given) return block;
    return wrong(quoted(text) + " has bits set behind its prefix (did you mean " + block.text() + "?)");
}

std::string AddressBlock::text() const {
    const bool v4 = tcpd::is_v4(*this);
    const unsigned rest =
        static_cast<unsigned>(std::popcount(first.high ^ last.high) + std::popcount(first.low ^ last.low));
    return address_text(first, v4) + "/" + std::to_string((v4 ? 32 : 128) - rest);
}

// Where IPv4 lies is an accident of the numbers: an IPv6 block around it means IPv6 alone.
AddressSet::AddressSet(std::span<const AddressBlock> blocks) {
    for (const AddressBlock& block : blocks) {
        if (block.first >= kFirstV4 || block.last < kLastV4) {
            blocks_.push_back(block);
            continue;
        }
        blocks_.push_back({block.first, {0, kFirstV4.low - 1}});
        if (kLastV4 < block.last) blocks_.push_back({next(kLastV4), block.last});
    }
    std::sort(blocks_.begin(), blocks_.end(),
              [](const AddressBlock& a, const AddressBlock& b) { return a.first < b.first; });
    size_t kept = 0;
    for (const AddressBlock& block : blocks_) {
        AddressBlock* before = kept > 0 ? &blocks_[kept - 1] : nullptr;
        const bool joins =
            before != nullptr && (block.first <= before->last || block.first == next(before->last));
        if (joins)
            before->last = std::max(before->last, block.last);
        else
            blocks_[kept++] = block;
    }
    blocks_.resize(kept);
}

bool AddressSet::contains(AddressNumber address) const {
    const auto behind = std::upper_bound(
        blocks_.begin(), blocks_.end(), address,
        [](const AddressNumber& number, const AddressBlock& block) { return number < block.first; });
    return behind != blocks_.begin() && address <= std::prev(behind)->last;
}

bool to_number(const sockaddr* address, AddressNumber* number) {
    if (address->sa_family == AF_INET) {
        sockaddr_in v4;
        std::memcpy(&v4, address, sizeof v4);
        *number = of_v4(v4.sin_addr);
        return true;
    }
    if (address->sa_family != AF_INET6) return false;
    sockaddr_in6 v6;
    std::memcpy(&v6, address, sizeof v6);
    *number = of_v6(v6.sin6_addr);
    return true;
}

}  // namespace tcpd
