#pragma once

// One master for each pid file: an fcntl lock on it, held for life and taken before anything is bound. The
// kernel drops it when the master ends, however it ends; a fork does not inherit it, an exec keeps it. The
// file is empty until `publish`, so that nobody reads a stale pid. Master only. Owns the file and removes it,
// but only while the path leads to it. Opening the same file a second time in this process and closing it
// would drop the lock. Source: fcntl(2) "Advisory record locking".

#include <string>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

namespace tcpd::master {

class PidFile {
public:
    // in_use names the pid that holds it, or what lies there instead of a pid file.
    static Result<PidFile> lock(const std::string& path);
    PidFile(PidFile&&) noexcept = default;
    PidFile& operator=(PidFile&&) = delete;
    ~PidFile();

    // "PID\n", in one write over nothing.
    Result<void> publish();
    // True: the path led to it no longer; it was made, locked and published anew. An Error leaves it as it is.
    Result<bool> restore();
    const std::string& path() const { return path_; }
    // Over an exec of this process, which keeps the lock.
    int fd() const { return file_.get(); }
    static PidFile take_over(std::string path, UniqueFd file) { return {std::move(path), std::move(file)}; }

private:
    PidFile(std::string path, UniqueFd file) : path_(std::move(path)), file_(std::move(file)) {}
    std::string path_;
    UniqueFd file_;
};

}  // namespace tcpd::master
