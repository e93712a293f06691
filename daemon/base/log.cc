#include "daemon/base/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>

#include "daemon/base/clock.h"
#include "daemon/base/log/line.h"
#include "daemon/base/log/line_limit.h"
#include "daemon/base/log/output.h"

namespace tcpd::log {

namespace {

std::atomic<Level> lowest_level{Level::info};
static_assert(static_cast<int>(Level::trace) == spdlog::level::trace &&
              static_cast<int>(Level::off) == spdlog::level::off);

uint64_t to_wall_ns(spdlog::log_clock::time_point time) {
    return static_cast<uint64_t>(std::chrono::nanoseconds(time.time_since_epoch()).count());
}

std::string make_notice(uint64_t lines, int sys_errno);

// spdlog calls it under its mutex, one line at a time: the scratch text keeps its memory between lines.
class Sink : public spdlog::sinks::base_sink<std::mutex> {
public:
    void start(const Setup& setup) {
        std::lock_guard lock(mutex_);
        shape_.set_format(setup.format);
        shape_.set_identity(getpid(), setup.who);
        output_.open(setup.fd, make_notice);
        buffer_ = nullptr;
    }
    void set_who(std::string_view who) {
        std::lock_guard lock(mutex_);
        shape_.set_identity(getpid(), who);
    }
    void set_buffer(LineBuffer* buffer) {
        std::lock_guard lock(mutex_);
        buffer_ = buffer;
    }
    // Reached from a LineBuffer's flush, which is called under the mutex: takes none.
    void write_lines(std::string_view lines) { output_.write(lines); }
    uint64_t dropped() const { return output_.dropped(); }
    void append_line(Text& to, uint64_t wall_nanoseconds, Level level, std::string_view message) {
        shape_.append(to, wall_nanoseconds, level, message);
    }

protected:
    void sink_it_(const spdlog::details::log_msg& message) override {
        line_.clear();
        auto level = static_cast<Level>(message.level);
        shape_.append(line_, to_wall_ns(message.time), level,
                      {message.payload.data(), message.payload.size()});
        put({line_.data(), line_.size()}, level >= Level::warn);
    }
    void flush_() override {
        if (buffer_) buffer_->flush();
    }

private:
    void put(std::string_view line, bool at_once) {
        if (!buffer_) return output_.write(line);
        char* room = buffer_->reserve(line.size());
        if (!room) {
            buffer_->flush();
            return output_.write(line);
        }
        memcpy(room, line.data(), line.size());
        buffer_->commit(line.size());
        if (at_once) buffer_->flush();
    }

    LineShape shape_;
    Text line_;
    Output output_;
    LineBuffer* buffer_ = nullptr;
};

// Never destroyed: lines may be written until the very end of a process.
struct Log {
    std::shared_ptr<Sink> sink = std::make_shared<Sink>();
    spdlog::logger logger{"tcpd", sink};
    std::mutex limit_mutex;
    LineLimit limit;

    Log() {
        logger.set_level(spdlog::level::trace);  // `enabled` has decided before
        logger.set_error_handler([](const std::string&) {});
        sink->start(Setup{});
    }
};

Log& the_log() {
    static Log& log = *new Log;
    return log;
}

std::string make_notice(uint64_t lines, int sys_errno) {
    const char* cause = strerrordesc_np(sys_errno);
    Text line;
    the_log().sink->append_line(
        line, wall_ns(), Level::warn,
        fmt::format("log: {} lines were dropped ({})", lines, cause ? cause : "unknown"));
    return fmt::to_string(line);
}

spdlog::level::level_enum to_spdlog(Level level) { return static_cast<spdlog::level::level_enum>(level); }

}  // namespace

void start(const Setup& setup) {
    set_level(setup.level);
    the_log().sink->start(setup);
}

void set_who(std::string_view who) { the_log().sink->set_who(who); }

void set_level(Level level) { lowest_level.store(level, std::memory_order_relaxed); }

void set_buffer(LineBuffer* buffer) { the_log().sink->set_buffer(buffer); }

bool enabled(Level level) { return level >= lowest_level.load(std::memory_order_relaxed); }

Level level_from(std::string_view name, bool* known) {
    for (size_t i = 0; i < kLevelNames.size(); ++i) {
        if (kLevelNames[i] != name) continue;
        *known = true;
        return static_cast<Level>(i);
    }
    *known = false;
    return Level::info;
}

std::string_view name_of(Level level) { return kLevelNames[static_cast<size_t>(level)]; }

std::string_view name_of(Format format) { return format == Format::json ? "json" : "text"; }

void write(Level level, fmt::string_view format, fmt::format_args args) {
    Text message;
    fmt::vformat_to(std::back_inserter(message), format, args);
    write_text(level, {message.data(), message.size()});
}

void write_text(Level level, std::string_view message) {
    the_log().logger.log(to_spdlog(level), spdlog::string_view_t(message.data(), message.size()));
}

void write_limited(Level level, const LineKind& kind, fmt::string_view format, fmt::format_args args) {
    Log& log = the_log();
    LineLimit::Verdict verdict;
    {
        std::lock_guard lock(log.limit_mutex);
        verdict = log.limit.on_line(kind, monotonic_ns());
    }
    if (!verdict.may_write) return;
    Text message;
    fmt::vformat_to(std::back_inserter(message), format, args);
    std::string left_out = describe_left_out(verdict);
    message.append(left_out.data(), left_out.data() + left_out.size());
    write_text(level, {message.data(), message.size()});
}

uint64_t dropped_lines() { return the_log().sink->dropped(); }

void flush() { the_log().logger.flush(); }

void write_lines(std::string_view lines) { the_log().sink->write_lines(lines); }

}  // namespace tcpd::log
