#pragma once

// A directory of a test's own, removed with all that is in it.

#include <stdlib.h>

#include <filesystem>
#include <string>

namespace tcpd::test {

class Folder {
public:
    Folder() {
        char name[] = "/tmp/tcpd-unit-XXXXXX";
        path_ = ::mkdtemp(name);
    }
    Folder(const Folder&) = delete;
    ~Folder() { std::filesystem::remove_all(path_); }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

}  // namespace tcpd::test
