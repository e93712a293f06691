#include "master/listen/address_holder.h"

#include <dirent.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <vector>

namespace tcpd::master {

namespace {

std::string read_file(const std::string& path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

std::vector<std::string_view> words_of(std::string_view line) {
    std::vector<std::string_view> words;
    size_t at = 0;
    while ((at = line.find_first_not_of(' ', at)) != std::string_view::npos) {
        const size_t end = std::min(line.find(' ', at), line.size());
        words.push_back(line.substr(at, end - at));
        at = end;
    }
    return words;
}

// Calls `look` with the words of each line until it returns an inode.
template <typename Look>
uint64_t scan_lines(std::string_view table, Look look) {
    while (!table.empty()) {
        const size_t end = std::min(table.find('\n'), table.size());
        if (const uint64_t inode = look(words_of(table.substr(0, end)))) return inode;
        table.remove_prefix(std::min(end + 1, table.size()));
    }
    return 0;
}

uint64_t number_of(std::string_view digits, int base) {
    uint64_t number = 0;
    const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
    return failed == std::errc() && end == digits.data() + digits.size() ? number : 0;
}

// "0100007F:1B58": each 32 bits of the address in the machine's order, then the port.
std::optional<Address> address_of(std::string_view text) {
    const size_t colon = text.find(':');
    if (colon != 8 && colon != 32) return std::nullopt;
    uint32_t words[4] = {};
    for (size_t i = 0; i < colon / 8; ++i) {
        words[i] = static_cast<uint32_t>(number_of(text.substr(8 * i, 8), 16));
    }
    const auto port = static_cast<uint16_t>(number_of(text.substr(colon + 1), 16));
    if (colon == 8) {
        sockaddr_in four{};
        four.sin_family = AF_INET;
        four.sin_addr.s_addr = words[0];
        four.sin_port = htons(port);
        return Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&four), sizeof four);
    }
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    std::memcpy(&six.sin6_addr, words, sizeof six.sin6_addr);
    six.sin6_port = htons(port);
    return Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&six), sizeof six);
}

bool is_wildcard_six(const Address& address) {
    return address.family() == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(address.get())->sin6_addr);
}

uint64_t find_inode(const Address& address) {
    const uint64_t inode =
        address.family() == AF_INET ? find_listener(read_file("/proc/net/tcp"), address) : 0;
    return inode != 0 ? inode : find_listener(read_file("/proc/net/tcp6"), address);
}

struct FolderEnd {
    void operator()(DIR* folder) const { closedir(folder); }
};
using Folder = std::unique_ptr<DIR, FolderEnd>;

Folder open_folder(const std::string& path) { return Folder(opendir(path.c_str())); }

bool has_open(const std::string& fd_folder, const std::string& link) {
    const Folder folder = open_folder(fd_folder);
    if (!folder) return false;
    while (const dirent* entry = readdir(folder.get())) {
        char target[64];
        const ssize_t length = readlinkat(dirfd(folder.get()), entry->d_name, target, sizeof target);
        if (length > 0 && std::string_view(target, static_cast<size_t>(length)) == link) return true;
    }
    return false;
}

}  // namespace

uint64_t find_listener(std::string_view table, const Address& address) {
    return scan_lines(table, [&](const std::vector<std::string_view>& words) -> uint64_t {
        constexpr std::string_view kListening = "0A";
        if (words.size() < 10 || words[3] != kListening) return 0;
        const auto local = address_of(words[1]);
        if (!local || local->port() != address.port()) return 0;
        const bool both_families = is_wildcard_six(*local) && address.family() == AF_INET;
        return local->overlaps(address) || both_families ? number_of(words[9], 10) : 0;
    });
}

// The program's file says more than comm, which a daemon may have overwritten; comm is there for everybody.
std::string name_of_process(pid_t pid) {
    std::error_code failed;
    const auto program = std::filesystem::read_symlink(fmt::format("/proc/{}/exe", pid), failed);
    if (!failed && !program.string().ends_with(" (deleted)")) return program.filename().string();
    std::string name = read_file(fmt::format("/proc/{}/comm", pid));
    if (!name.empty() && name.back() == '\n') name.pop_back();
    return name;
}

std::optional<Holder> find_holder(const Address& address) {
    const uint64_t inode = find_inode(address);
    if (inode == 0) return std::nullopt;
    const std::string link = fmt::format("socket:[{}]", inode);
    const Folder processes = open_folder("/proc");
    if (!processes) return std::nullopt;
    while (const dirent* entry = readdir(processes.get())) {
        const auto pid = static_cast<pid_t>(number_of(entry->d_name, 10));
        if (pid == 0 || !has_open(fmt::format("/proc/{}/fd", pid), link)) continue;
        return Holder{pid, name_of_process(pid)};
    }
    return std::nullopt;
}

}  // namespace tcpd::master
