#pragma once

// The grammar of tcpd.yaml: one row for each key, and all that is known of a key is in its row. Reading,
// defaults, suggestions, -T and the manual page walk this table; a new key is a new row (and a member in
// conf/config.h). Defaults are the initial values of the structs in conf/config.h. Pure; every process.
// Source: tcpd.yaml(5).

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "conf/config.h"

namespace tcpd::conf {

inline constexpr size_t kMaxNames = 256;  // of each kind: slot memory numbers them
inline constexpr size_t kMaxNameBytes = 63;
inline constexpr size_t kMaxAddresses = 4096;  // of all listeners: a worker is told them in one message

// What a row's accessors lead into. Only what the row's path passes through is set.
struct Target {
    Config* config = nullptr;
    Listener* listener = nullptr;
    Upstream* upstream = nullptr;
    Framing* framing = nullptr;
    Route* route = nullptr;
};
template <typename T>
using At = T* (*)(const Target&);

// What a key holds. Those with a word in `instead` take that word as well.

// A map of the keys whose paths continue this one.
struct Section {
    bool (*is_there)(const Target&) = nullptr;  // -T leaves it out if not; nullptr: it always is
};
struct Names {};    // a map of names, each with the keys below PATH.NAME
struct Include {};  // read before all else
struct Flag {
    At<bool> at;
};
struct Count {
    At<unsigned> at;
    uint64_t least, most;
};
struct OptionalCount {
    At<std::optional<unsigned>> at;
    uint64_t least, most;
    std::string_view instead;  // how it is written when it is absent
};
struct SignedCount {
    At<int> at;
    int least, most;
};
struct Limit {
    At<uint64_t> at;
    uint64_t most;  // 0: none
};
struct RateLimit {
    At<Rate> at;
};
struct Time {
    At<Duration> at;
    Duration least, most;
    bool takes_zero;  // 0: no limit
    Duration step;    // it is a multiple of this
};
struct Size {
    At<uint64_t> at;
    uint64_t least, most;
    bool is_framings = false;  // the framing has one of its own, which this replaces
    bool takes_zero = false;   // 0: no limit
};
// A size, 0 (no limit) or a word.
struct WordOrSize {
    At<std::optional<uint64_t>> at;
    uint64_t least, most;
    std::string_view instead;  // how it is written when it is absent
};
// A size that belongs to some declarations only, which begins without one.
struct OptionalSize {
    At<uint64_t> at;
    uint64_t least, most;  // 0: absent
};
// Bytes, written as hexadecimal digits.
struct Bytes {
    At<std::string> at;
    size_t most;
};
struct Choice {
    std::span<const std::string_view> words;  // by the enumerator's number
    size_t (*get)(const Target&);             // the number of words: none of them
    void (*set)(const Target&, size_t);
    bool has_default = true;
};
// Words that stand side by side, one or a list; each has a member.
struct Words {
    std::span<const std::string_view> words;
    bool* (*at)(const Target&, size_t word);
};
struct Account {
    At<std::string> at;  // a user or a group
};
struct Path {
    At<std::string> at;
    std::string_view instead;
    size_t most_bytes;
};
struct Mode {
    At<std::optional<unsigned>> at;
};
struct Addresses {
    At<std::vector<Address>> at;
    bool is_listen;  // takes port 0 and *:PORT
    size_t most;
};
// None, one or a list.
struct Blocks {
    At<std::vector<AddressBlock>> at;
    size_t most;
};
// Numbers and ranges (0x10-0x1F), one or a list.
struct Ranges {
    At<std::vector<TypeRange>> at;
    size_t most;
};
struct HandlerChoice {};  // a word, or a map with one of the keys below it
struct UpstreamName {};
struct FramingName {};
struct ReplyName {};     // the name of a framing, for the other direction
struct Routes {};        // a list of maps, each of the keys below it
struct DefaultRoute {};  // true, or it is left out
struct FrameError {};    // a code of the frame protocol

using Kind = std::variant<Section, Names, Include, Flag, Count, OptionalCount, SignedCount, Limit, RateLimit,
                          Time, Size, WordOrSize, OptionalSize, Bytes, Choice, Words, Account, Path, Mode,
                          Addresses, Blocks, Ranges, HandlerChoice, UpstreamName, FramingName, ReplyName,
                          Routes, DefaultRoute, FrameError>;

// What a listener must have for one of its keys to mean anything. Otherwise the key is an error, and -T
// leaves it out.
struct Need {
    bool (*is_met)(const Listener&) = nullptr;  // nullptr: nothing
    std::string_view key;                       // of the listener, which decides it
    std::string_view otherwise;                 // said of the key
};

struct Row {
    std::string_view path;  // "listeners.NAME.timeouts.idle"
    Kind kind;
    std::string_view about;         // one line; for people
    std::string_view when_missing;  // what is said when it is not there; empty: it need not be
    bool in_included = false;       // of the rows at the top: an included file may hold it
    Need need = {};                 // of the rows of a listener

    std::string_view key() const;     // "idle"
    std::string_view parent() const;  // "listeners.NAME.timeouts"; empty: the top
};

std::span<const Row> grammar();
// Those directly below the row with this path (empty: the top), in the table's order.
std::vector<const Row*> rows_below(std::string_view path);
// The one of them with this key, or nullptr.
const Row* find_key(std::string_view path, std::string_view key);
// Of a key that is not among them: "did you mean idle?", "known: idle, closing".
std::string suggest_key(std::string_view path, std::string_view key);

}  // namespace tcpd::conf
