#pragma once

// Where config text comes from: the files themselves (master, -t), or the sealed bundle that the master made
// of them (slots, which read no file). A FileSource remembers all that was read, so that a bundle holds one
// snapshot. A death in here leaves a bundle unsealed that nobody else has yet. The bundle is a memfd:
// written, then sealed against writing, growing and shrinking, close-on-exec. Source:
// memfd_create(2), fcntl(2) "File Sealing", glob(7).

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

namespace tcpd::conf {

class Source {
public:
    virtual ~Source() = default;
    // The whole file; over 16 MiB, or none that may be read by the rule of owned_folder.h: an Error.
    virtual Result<std::string> read(const std::string& absolute_path) = 0;
    // The sorted paths that match; none is no error.
    virtual Result<std::vector<std::string>> match(const std::string& absolute_pattern) = 0;
    // Whether this machine is to be asked, too, for the users and folders that the text names.
    virtual bool is_live() const { return false; }
};

// What was read and matched, by path and by pattern.
struct Snapshot {
    std::string main_path;  // the first that was read
    std::map<std::string, std::string> files;
    std::map<std::string, std::vector<std::string>> patterns;
};

class FileSource : public Source {
public:
    Result<std::string> read(const std::string& absolute_path) override;
    Result<std::vector<std::string>> match(const std::string& absolute_pattern) override;
    bool is_live() const override { return true; }
    const Snapshot& snapshot() const { return snapshot_; }

private:
    Snapshot snapshot_;
};

class SnapshotSource : public Source {
public:
    explicit SnapshotSource(Snapshot snapshot) : snapshot_(std::move(snapshot)) {}
    Result<std::string> read(const std::string& absolute_path) override;
    Result<std::vector<std::string>> match(const std::string& absolute_pattern) override;

private:
    Snapshot snapshot_;
};

// A sealed memfd with the snapshot; `read_bundle` checks every length and the seals' absence is no error of
// its own.
Result<UniqueFd> make_bundle(const Snapshot& snapshot);
Result<Snapshot> read_bundle(int fd);

}  // namespace tcpd::conf
