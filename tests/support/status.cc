#include "tests/support/status.h"

#include <sstream>

#include "daemon/slot/reason.h"
#include "tests/support/process_view.h"
#include "tests/support/wait.h"

namespace tcpd::test {
namespace {

std::vector<std::string> words_of(const std::string& line) {
    std::istringstream stream(line);
    std::vector<std::string> words;
    for (std::string word; stream >> word;) words.push_back(word);
    return words;
}

bool is_number(const std::string& text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

pid_t pid_from(const std::string& text) { return is_number(text) ? std::stoi(text) : 0; }

SlotStatus slot_from(const std::vector<std::string>& words) {
    SlotStatus slot;
    for (size_t i = 2; i + 1 < words.size(); i += 2) {
        const std::string &name = words[i], &value = words[i + 1];
        if (name == "worker") slot.worker = pid_from(value);
        if (name == "standby") slot.standby = pid_from(value);
        if (name == "state") slot.state = value;
        if (name == "image") slot.image = std::stoull(value);
        if (name == "attempt") slot.attempt = std::stoull(value);
        if (name == "seats") slot.seats = std::stoull(value);
    }
    return slot;
}

std::string joined(const std::vector<std::string>& words, size_t begin, size_t end) {
    std::string text;
    for (size_t i = begin; i < end; ++i) text += (text.empty() ? "" : " ") + words[i];
    return text;
}

template <typename Name>
bool is_named(const std::string& word) {
    for (size_t i = 0; i < static_cast<size_t>(Name::count); ++i) {
        if (word == slot::name_of(static_cast<Name>(i))) return true;
    }
    return false;
}

// Many are not printed while they are 0.
bool is_counter(const std::string& what) {
    const std::vector<std::string> words = words_of(what);
    if (words.size() == 1) {
        return what == "open" || what == "accepted" || what == "received_bytes" || what == "sent_bytes";
    }
    if (words.size() != 2) return false;
    if (words[0] == "closed") return is_named<slot::CloseReason>(words[1]);
    if (words[0] == "refused") return is_named<slot::RefuseReason>(words[1]);
    return (words[0] == "adopted" || words[0] == "lost") && is_named<slot::Cause>(words[1]);
}

}  // namespace

Status Status::parse(const std::string& text) {
    Status status;
    status.text_ = text;
    for (const std::string& line : lines_of(text)) {
        const std::vector<std::string> words = words_of(line);
        if (words.size() >= 3 && words[0] == "slot" && words[2] == "worker")
            status.slots_.push_back(slot_from(words));
        if (words.size() < 4 || words[0] != "listener") continue;
        if (words[2] == "address") {
            status.addresses_[words[1]].push_back(words[3]);
        } else if (is_number(words.back())) {
            status.counts_[joined(words, 1, words.size() - 1)] = std::stoull(words.back());
        }
    }
    return status;
}

uint64_t Status::seats() const {
    uint64_t sum = 0;
    for (const SlotStatus& slot : slots_) sum += slot.seats;
    return sum;
}

uint64_t Status::count(const std::string& listener, const std::string& what) const {
    if (!is_counter(what)) throw Failed("there is no counter \"" + what + "\" of a listener");
    const auto found = counts_.find(listener + " " + what);
    return found == counts_.end() ? 0 : found->second;
}

uint64_t Status::total(const std::string& what) const {
    uint64_t sum = 0;
    for (const auto& [name, value] : counts_) {
        const std::vector<std::string> words = words_of(name);
        if (words.size() > 1 && words[1] == what) sum += value;
    }
    return sum;
}

std::string Status::address(const std::string& listener, size_t n) const {
    const auto found = addresses_.find(listener);
    if (found == addresses_.end() || found->second.size() <= n) {
        throw Failed("status names no address " + std::to_string(n) + " of listener " + listener + ":\n" +
                     text_);
    }
    return found->second[n];
}

}  // namespace tcpd::test
