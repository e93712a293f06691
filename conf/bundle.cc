// The bundle's format: magic, version, main path, number of files, (path, text) each, number of patterns,
// each with its number of paths. Numbers are 32 bits in the machine's own order, since the reader is this
// machine's; texts follow their length.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "conf/source.h"
#include "daemon/base/process.h"

namespace tcpd::conf {

namespace {

constexpr std::string_view kMagic = "tcpdconf";
constexpr uint32_t kVersion = 1;
constexpr size_t kMaxBundleBytes = 256 * 1024 * 1024;

class Writer {
public:
    void number(size_t value) {
        const uint32_t narrow = static_cast<uint32_t>(value);
        bytes_.append(reinterpret_cast<const char*>(&narrow), sizeof narrow);
    }
    void text(std::string_view value) {
        number(value.size());
        bytes_ += value;
    }
    void raw(std::string_view value) { bytes_ += value; }
    const std::string& bytes() const { return bytes_; }

private:
    std::string bytes_;
};

// Once something did not fit, everything reads as empty and `is_whole` is false.
class Reader {
public:
    explicit Reader(std::string_view bytes) : bytes_(bytes) {}
    std::string_view raw(size_t length) {
        if (length > bytes_.size()) fail();
        const std::string_view taken = bytes_.substr(0, std::min(length, bytes_.size()));
        bytes_.remove_prefix(taken.size());
        return is_good_ ? taken : std::string_view();
    }
    uint32_t number() {
        uint32_t value = 0;
        const std::string_view taken = raw(sizeof value);
        if (taken.size() == sizeof value) std::memcpy(&value, taken.data(), sizeof value);
        return value;
    }
    std::string text() { return std::string(raw(number())); }
    bool is_good() const { return is_good_; }
    bool is_whole() const { return is_good_ && bytes_.empty(); }

private:
    void fail() {
        is_good_ = false;
        bytes_ = {};
    }
    std::string_view bytes_;
    bool is_good_ = true;
};

std::string packed(const Snapshot& snapshot) {
    Writer out;
    out.raw(kMagic);
    out.number(kVersion);
    out.text(snapshot.main_path);
    out.number(snapshot.files.size());
    for (const auto& [path, text] : snapshot.files) {
        out.text(path);
        out.text(text);
    }
    out.number(snapshot.patterns.size());
    for (const auto& [pattern, paths] : snapshot.patterns) {
        out.text(pattern);
        out.number(paths.size());
        for (const std::string& path : paths) out.text(path);
    }
    return out.bytes();
}

void unpack_patterns(Reader& in, Snapshot& snapshot) {
    for (uint32_t left = in.number(); left > 0 && in.is_good(); --left) {
        std::vector<std::string>& paths = snapshot.patterns[in.text()];
        for (uint32_t matches = in.number(); matches > 0 && in.is_good(); --matches)
            paths.push_back(in.text());
    }
}

Error not_a_bundle(std::string reason) {
    return Error{.code = ErrorCode::bad_format,
                 .doing = "read",
                 .on = "the config bundle",
                 .reason = std::move(reason)};
}

Result<Snapshot> unpacked(std::string_view bytes) {
    Reader in(bytes);
    if (in.raw(kMagic.size()) != kMagic) return not_a_bundle("it does not begin like one");
    if (const uint32_t version = in.number(); version != kVersion)
        return not_a_bundle("its format is " + std::to_string(version) + ", known is " +
                            std::to_string(kVersion));
    Snapshot snapshot;
    snapshot.main_path = in.text();
    for (uint32_t left = in.number(); left > 0 && in.is_good(); --left) {
        const std::string path = in.text();
        snapshot.files[path] = in.text();
    }
    unpack_patterns(in, snapshot);
    if (!in.is_whole()) return not_a_bundle("a length in it is wrong");
    return snapshot;
}

Result<void> write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd, bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return system_error(errno, "write", "the config bundle");
        bytes.remove_prefix(static_cast<size_t>(written));
    }
    return {};
}

// By pread: the offset is shared with every other process that holds this descriptor.
Result<std::string> read_all(int fd, size_t size) {
    std::string bytes(size, '\0');
    for (size_t at = 0; at < size;) {
        const ssize_t got = ::pread(fd, bytes.data() + at, size - at, static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error(errno, "read", "the config bundle");
        if (got == 0) return not_a_bundle("it shrank while it was read");
        at += static_cast<size_t>(got);
    }
    return bytes;
}

}  // namespace

Result<UniqueFd> make_bundle(const Snapshot& snapshot) {
    const std::string bytes = packed(snapshot);
    if (bytes.size() > kMaxBundleBytes)
        return Error{.code = ErrorCode::bad_config,
                     .doing = "make",
                     .on = "the config bundle",
                     .reason = "all files together are larger than 256MiB"};
    UniqueFd fd = make_memfd("tcpd config");
    if (!fd) return system_error(errno, "create", "the config bundle");
    if (Result<void> written = write_all(fd.get(), bytes); !written) return written.error();
    const int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
    if (::fcntl(fd.get(), F_ADD_SEALS, seals) != 0) return system_error(errno, "seal", "the config bundle");
    return fd;
}

Result<Snapshot> read_bundle(int fd) {
    struct stat about {};
    if (::fstat(fd, &about) != 0) return system_error(errno, "read", "the config bundle");
    const size_t size = static_cast<size_t>(about.st_size);
    if (size > kMaxBundleBytes) return not_a_bundle("it is larger than 256MiB");
    Result<std::string> bytes = read_all(fd, size);
    if (!bytes) return bytes.error();
    return unpacked(*bytes);
}

}  // namespace tcpd::conf
