#include "conf/listener/rate.h"

#include <fmt/core.h>

#include "daemon/base/text.h"

namespace tcpd::conf {

namespace {

Error unfit(std::string_view text, const std::string& reason) {
    return Error{.code = ErrorCode::bad_config,
                 .doing = "read",
                 .on = "a rate",
                 .reason = fmt::format("{} {}", quoted(text), reason)};
}

}  // namespace

Result<Rate> parse_rate(std::string_view text) {
    if (text == "0") return Rate{};
    const size_t slash = text.find('/');
    const std::string_view number = text.substr(0, slash);
    const std::string_view unit = slash == text.npos ? std::string_view() : text.substr(slash + 1);
    const bool is_digits =
        !number.empty() && number[0] != '0' && number.find_first_not_of("0123456789") == text.npos;
    const std::optional<uint64_t> count = parse_number(number);
    if (slash == text.npos && is_digits) return unfit(text, fmt::format("has no unit (try {}/s)", text));
    if ((unit != "s" && unit != "m") || (!count && !is_digits))
        return unfit(text, "is not a rate (a whole number per second or minute, such as 100/s, 5/m)");
    if (!count || *count == 0 || *count > kMaxRate)
        return unfit(text, fmt::format("is out of range (0, or 1/{} to {}/{})", unit, kMaxRate, unit));
    return Rate{.count = *count, .per = unit == "s" ? Duration(1s) : Duration(1min)};
}

std::string format_rate(const Rate& rate) {
    if (rate.count == 0) return "0";
    return fmt::format("{}/{}", rate.count, rate.per == Duration(1s) ? "s" : "m");
}

}  // namespace tcpd::conf
