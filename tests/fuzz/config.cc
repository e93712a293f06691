// Fuzzes conf::load: whatever stands in a file, what is said of it can be shown in a terminal and has its
// place; and if nothing is wrong, `tcpd -T` prints what reads back as the same, and its framings keep their
// promises. The machine is not asked. A NUL ends the main file; what follows is what every other file holds
// that it names. Without a NUL there is no other.

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

#include "conf/load.h"
#include "daemon/base/text.h"
#include "tests/support/cut_stream.h"

namespace {

using namespace tcpd;

const std::string kMain = "/etc/tcpd/tcpd.yaml";

[[noreturn]] void fail(std::string_view what, std::string_view text) {
    std::cerr << what << ": " << text << std::endl;
    std::abort();
}

using Other = std::optional<std::string_view>;

class TwoTexts : public conf::Source {
public:
    TwoTexts(std::string_view main, Other other) : main_(main), other_(other) {}
    Result<std::string> read(const std::string& path) override {
        if (path == kMain) return std::string(main_);
        if (other_) return std::string(*other_);
        return Error{.code = ErrorCode::not_found, .doing = "read", .on = path, .reason = "there is none"};
    }
    Result<std::vector<std::string>> match(const std::string& pattern) override {
        return std::vector<std::string>{pattern + ".1"};
    }

private:
    std::string_view main_;
    Other other_;
};

void check_can_be_shown(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
        const size_t bytes = utf8_character(text.substr(at));
        const std::string_view character = text.substr(at, bytes);  // none, if malformed
        const bool is_control =
            character < " " || character == "\x7f" || (character >= "\xc2\x80" && character < "\xc2\xa0");
        if (is_control) fail("not to be shown", text);
        at += bytes;
    }
}

void check_problem(const conf::Problem& problem) {
    check_can_be_shown(problem.text());
    if (problem.message.empty()) fail("nothing said", problem.text());
    if (problem.line < 0 || (problem.line == 0) != (problem.column == 0)) fail("no place", problem.text());
}

void check_reads_back(const conf::Config& config, Other other) {
    const std::string text = conf::dump(config);
    TwoTexts source(text, other);
    const conf::Loaded again = conf::load(source, kMain);
    for (const conf::Problem& problem : again.problems) fail(problem.text(), text);
    if (again.config != config) fail("reads back as something else", text);
}

void check_framing(const conf::Framing& config, std::string_view stream) {
    const worker::Framing framing(config);
    const test::CutStream whole = test::cut_whole(framing, stream);
    const test::CutStream by_byte = test::cut_by_byte(framing, stream);
    if (!whole.broken_rule.empty()) fail(config.name, whole.broken_rule);
    if (whole != by_byte) fail(config.name, "other frames byte by byte");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    constexpr size_t kMaxStreamBytes = 100;
    const std::string_view all(reinterpret_cast<const char*>(data), size);
    const std::string_view main = all.substr(0, all.find('\0'));
    const Other other = main.size() < size ? Other(all.substr(main.size() + 1)) : std::nullopt;
    TwoTexts source(main, other);
    const conf::Loaded loaded = conf::load(source, kMain);
    for (const conf::Problem& problem : loaded.problems) check_problem(problem);
    for (const std::string& warning : loaded.warnings) check_can_be_shown(warning);
    if (!loaded.problems.empty()) return 0;
    check_reads_back(loaded.config, other);
    for (const conf::Framing& framing : loaded.config.framings)
        check_framing(framing, all.substr(0, kMaxStreamBytes));
    return 0;
}
