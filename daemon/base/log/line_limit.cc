#include "daemon/base/log/line_limit.h"

#include <fmt/format.h>

#include <algorithm>

#include "daemon/base/text.h"

namespace tcpd::log {

LineLimit::Verdict LineLimit::on_line(const LineKind& line, uint64_t now_ns) {
    Kind& kind = kind_of(line);
    bool is_first = kind.line.what.empty();
    uint64_t quiet_ns = is_first ? 0 : now_ns - kind.written_ns;
    if (!is_first && quiet_ns < kQuietNs) {
        ++kind.left_out;
        return {false, 0, 0};
    }
    Verdict verdict{true, kind.left_out, quiet_ns};
    kind = {line, now_ns, 0};
    return verdict;
}

// Its own entry, else a free one (written at 0), else the oldest, emptied.
LineLimit::Kind& LineLimit::kind_of(const LineKind& line) {
    auto same = [&line](const Kind& kind) { return kind.line == line; };
    auto own = std::find_if(kinds_.begin(), kinds_.end(), same);
    if (own != kinds_.end()) return *own;
    auto is_older = [](const Kind& a, const Kind& b) { return a.written_ns < b.written_ns; };
    Kind& oldest = *std::min_element(kinds_.begin(), kinds_.end(), is_older);
    oldest = {};
    return oldest;
}

std::string describe_left_out(const LineLimit::Verdict& verdict) {
    if (verdict.left_out == 0) return {};
    return fmt::format(" ({} more like this in {})", verdict.left_out, format_elapsed(verdict.quiet_ns));
}

}  // namespace tcpd::log
