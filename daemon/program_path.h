#pragma once

// Where this program lies, as it was started: an upgrade executes whatever lies there then, so symbolic links
// are kept (/proc/self/exe would say "(deleted)" once a package replaced the file). Pure but for access(2);
// master only. Source: execvp(3), proc(5).

#include <string>
#include <string_view>

namespace tcpd {

// `folder`: the working directory, absolute; `search`: the value of PATH. Empty: not found.
std::string program_path(std::string_view argv0, const std::string& folder, std::string_view search);

}  // namespace tcpd
