#include "daemon/base/error.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>

namespace tcpd {

namespace {

std::string describe_errno(int sys_errno) {
    const char* description = strerrordesc_np(sys_errno);
    return description ? description : "errno " + std::to_string(sys_errno);
}

ErrorCode code_for(int sys_errno) {
    switch (sys_errno) {
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM: return ErrorCode::exhausted;
        case EACCES:
        case EPERM: return ErrorCode::no_permission;
        case EADDRINUSE: return ErrorCode::in_use;
        case ENOENT: return ErrorCode::not_found;
        default: return ErrorCode::system;
    }
}

// Where the cause may be a limit that whoever started the process set, and forgot.
std::string limit_hint(int sys_errno) {
    rlimit limit{};
    if (sys_errno == ENOMEM && ::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        return "address space is limited to " + std::to_string(limit.rlim_cur) +
               " bytes: raise ulimit -v, LimitAS=";
    if (sys_errno == EFBIG && ::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        return "files are limited to " + std::to_string(limit.rlim_cur) +
               " bytes: raise ulimit -f, LimitFSIZE=";
    return {};
}

void append_joined(std::string& text, const char* separator, const std::string& more) {
    if (more.empty()) return;
    if (!text.empty()) text += separator;
    text += more;
}

}  // namespace

std::string Error::cause() const { return sys_errno != 0 ? describe_errno(sys_errno) : reason; }

std::string Error::text() const {
    std::string subject = doing.empty() ? "" : "could not " + doing;
    append_joined(subject, " ", on);
    std::string aside = sys_errno ? reason : "";
    append_joined(aside, "; ", hint);

    append_joined(subject, ": ", cause());
    if (!aside.empty()) append_joined(subject, " ", "(" + aside + ")");
    if (!during.empty()) append_joined(subject, ", ", "while " + during);
    return subject;
}

Error&& Error::while_doing(std::string what) && {
    during = std::move(what);
    return std::move(*this);
}

Error system_error(int sys_errno, std::string doing, std::string on, std::string hint) {
    Error error;
    error.code = code_for(sys_errno);
    error.doing = std::move(doing);
    error.on = std::move(on);
    error.sys_errno = sys_errno;
    error.hint = hint.empty() ? limit_hint(sys_errno) : std::move(hint);
    return error;
}

bool is_local_fault(int sys_errno) {
    return sys_errno == EMFILE || sys_errno == ENFILE || sys_errno == ENOBUFS || sys_errno == ENOMEM ||
           sys_errno == EADDRNOTAVAIL;
}

}  // namespace tcpd
