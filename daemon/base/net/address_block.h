#pragma once

// A block of addresses as CIDR writes it, and a set of blocks to look an address up in. Values only; no
// descriptor, no lock. Every process. If the process dies in here, nothing is left behind. Source: RFC 4632,
// RFC 4291 section 2.3; IPv4 lies at ::ffff:0:0/96, RFC 4291 section 2.5.5.2.

#include <sys/socket.h>

#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"

namespace tcpd {

// An address as a number of 128 bits.
struct AddressNumber {
    uint64_t high = 0, low = 0;
    auto operator<=>(const AddressNumber&) const = default;
};

struct AddressBlock {
    AddressNumber first, last;
    bool operator==(const AddressBlock&) const = default;
    // "10.0.0.0/8", "2001:db8::/32", or one address. Bits set behind the prefix, a name or a port: an Error
    // whose `reason` says what would be right.
    static Result<AddressBlock> parse(std::string_view text);
    // As parse reads it.
    std::string text() const;
};

// An IPv6 block does not hold the IPv4 addresses, however short its prefix; ::ffff:0:0/96 are they.
class AddressSet {
public:
    AddressSet() = default;
    explicit AddressSet(std::span<const AddressBlock> blocks);
    bool is_empty() const { return blocks_.empty(); }
    bool contains(AddressNumber address) const;

private:
    std::vector<AddressBlock> blocks_;  // in order, not touching one another
};

// False: it is of neither family.
bool to_number(const sockaddr* address, AddressNumber* number);

}  // namespace tcpd
