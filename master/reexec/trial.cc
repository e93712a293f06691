#include "master/reexec/trial.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>

#include "daemon/base/owned_folder.h"
#include "daemon/slot/control_message.h"
#include "daemon/slot/slot_memory.h"
#include "master/reexec/reexec.h"

namespace tcpd::master {

namespace {

std::string first_line(const std::string& text) {
    return text.substr(0, std::min(text.find('\n'), text.size()));
}

// What a program says of itself.
struct Formats {
    unsigned slot = 0, level = 0, birth = 0, master = 0;
    slot::PlanBytes board, buffers;
};

std::string text_of(const Formats& f) {
    return fmt::format("formats: slot {} level {} board {}+{} buffers {}+{}, birth {}, master {}", f.slot,
                       f.level, f.board.fixed, f.board.each, f.buffers.fixed, f.buffers.each, f.birth,
                       f.master);
}

std::optional<Formats> parse_formats(const std::string& line) {
    Formats f;
    const int found = std::sscanf(
        line.c_str(), "formats: slot %u level %u board %lu+%lu buffers %lu+%lu, birth %u, master %u", &f.slot,
        &f.level, &f.board.fixed, &f.board.each, &f.buffers.fixed, &f.buffers.each, &f.birth, &f.master);
    if (found != 8) return std::nullopt;
    return f;
}

Formats own_formats() {
    return {slot::kFormat,
            slot::kLevel,
            slot::kBirthFormat,
            kStateFormat,
            slot::SlotMemory::board_plan(),
            slot::SlotMemory::buffers_plan()};
}

Error unfit(const std::string& path, std::string reason) {
    return Error{ErrorCode::refused,
                 "upgrade to",
                 path,
                 0,
                 std::move(reason),
                 "upgrade by way of a version in between, or restart"};
}

// The level of the program that printed `version`.
Result<uint32_t> understands_us(const std::string& version, const std::string& path, const Demands& demands) {
    const size_t at = version.find("formats: ");
    const std::string line = at == std::string::npos ? "it names none" : first_line(version.substr(at));
    const auto has = parse_formats(line);
    if (!has || has->slot != slot::kFormat || has->birth != slot::kBirthFormat || has->master != kStateFormat)
        return unfit(path, fmt::format("it does not read what this tcpd writes ({}; needed is {})", line,
                                       formats_line()));
    if (has->level < demands.level)
        return unfit(path, fmt::format("it knows levels of slot memory up to {}, and {} (level {}) is in use",
                                       has->level, demands.thing, demands.level));
    if (demands.records != 0 && (has->board.of(demands.records) > demands.board_bytes ||
                                 has->buffers.of(demands.records) > demands.buffers_bytes))
        return unfit(path,
                     fmt::format("its parts of slot memory do not fit in what there is for {} descriptors",
                                 demands.records));
    return has->level;
}

// Its folder's owner may put any program there, so that links give nothing away; a FIFO would be waited for.
Result<UniqueFd> open_program(const std::string& path) {
    const char* doing = "open the new program";
    struct stat found {};
    if (::stat(path.c_str(), &found) != 0) return system_error(errno, doing, path);
    UniqueFd program;
    if (S_ISREG(found.st_mode)) {
        program.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
        if (!program || ::fstat(program.get(), &found) != 0) return system_error(errno, doing, path);
    }
    if (!S_ISREG(found.st_mode)) return unfit_file(doing, path, "it is no regular file");
    return program;
}

}  // namespace

std::string formats_line() { return text_of(own_formats()); }

void Trial::ask(int program, std::string doing, std::vector<std::string> arguments,
                const std::vector<int>& kept, Question::OnAnswer on_answer) {
    question_ = std::make_unique<Question>(loop_, std::move(doing), on_answer);
    auto asked = question_->ask(program, std::move(arguments), kept);
    if (asked) return;
    question_.reset();
    on_answer(std::move(asked.error()));
}

void Trial::check(const std::string& path, const std::string& config_path, Demands demands,
                  OnChecked on_checked) {
    demands_ = std::move(demands);
    path_ = path;
    config_path_ = config_path;
    on_checked_ = std::move(on_checked);
    auto program = open_program(path);
    if (!program) return on_checked_(std::move(program.error()));
    checked_.program = std::move(*program);
    ask(checked_.program.get(), fmt::format("ask {} for its version", path), {"-V"}, {},
        [this](Result<std::string> answer) { on_version(std::move(answer)); });
}

void Trial::on_version(Result<std::string> answer) {
    if (!answer) return on_checked_(std::move(answer.error()));
    auto level = understands_us(*answer, path_, demands_);
    if (!level) return on_checked_(std::move(level.error()));
    checked_.level = *level;
    ask(checked_.program.get(), fmt::format("have {} check the configuration", path_),
        {"-t", "-c", config_path_}, {},
        [this](Result<std::string> checked) { on_config_checked(std::move(checked)); });
}

void Trial::on_config_checked(Result<std::string> answer) {
    answer ? on_checked_(std::move(checked_)) : on_checked_(std::move(answer.error()));
}

void Trial::probe(int program, const MasterState& state, OnProbed on_probed) {
    auto copy = write_state(state);
    if (!copy) return on_probed(std::move(copy.error()));
    std::vector<int> kept = descriptors_of(state);
    kept.push_back(copy->get());
    ask(program, "have the new program take over for a try", {kProbeFlag, fmt::format("{}", copy->get())},
        kept, [on_probed = std::move(on_probed)](Result<std::string> answer) {
            answer ? on_probed({}) : on_probed(std::move(answer.error()));
        });
}

bool Trial::take_death(const Death& death) {
    if (!question_ || question_->child() != death.pid) return false;
    const std::unique_ptr<Question> ended = std::move(question_);  // the next one may come in its place
    ended->on_end(death);
    return true;
}

}  // namespace tcpd::master
