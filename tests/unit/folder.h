#pragma once

// A folder of its own for a test that needs real files; gone with the object.

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace tcpd::test {

class Folder {
public:
    Folder() {
        char path[] = "/tmp/tcpd-unit-XXXXXX";
        if (::mkdtemp(path) != nullptr) path_ = path;
        std::filesystem::permissions(path_, std::filesystem::perms(0755));
    }
    Folder(const Folder&) = delete;
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    const std::string& path() const { return path_; }
    std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
    void write(std::string_view name, std::string_view text) const { std::ofstream(*this / name) << text; }

private:
    std::string path_;
};

}  // namespace tcpd::test
