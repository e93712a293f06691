#pragma once

// The descriptor that log lines go to: what can't be written is dropped and counted, and the next line that
// can be is preceded by a notice. Every process. Owns no descriptor. A pipe, terminal or socket whose reader
// is stuck costs kPatience once and then nothing, until it takes bytes again; O_NONBLOCK is no way out, since
// the open file belongs to others as well. Regular files are just written. Source: write(2), pipe(7)
// "PIPE_BUF", signal(7) SIGPIPE and SIGXFSZ.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace tcpd::log {

class Output {
public:
    static constexpr std::chrono::milliseconds kPatience{20};
    // Makes the line that tells of dropped ones, newline included.
    using Notice = std::string (*)(uint64_t lines, int sys_errno);

    void open(int fd, Notice notice);
    // One or more whole lines.
    void write(std::string_view lines);
    uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

private:
    enum class Sort : uint8_t { file, stream, socket };

    bool tell_of_dropped();
    std::string_view take_piece(std::string_view& lines) const;
    bool put(std::string_view& piece);
    bool end_torn_line();
    bool is_ready();
    long put_once(std::string_view piece);
    void drop(std::string_view lines, int sys_errno);

    int fd_ = 2;
    Sort sort_ = Sort::stream;
    Notice notice_ = nullptr;
    bool line_is_torn_ = false;  // the last write ended in the middle of a line
    uint64_t untold_ = 0;
    int untold_errno_ = 0;
    std::atomic<uint64_t> dropped_{0};
};

}  // namespace tcpd::log
