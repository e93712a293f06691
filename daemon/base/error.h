#pragma once

// What went wrong, in words for the person who has to mend it: what was attempted, on what, why it failed,
// what to do. Runs in every process. Set-up and control paths return Result<T>; the data path returns small
// enums instead. An Error is logged once, where it is dealt with; a caller on the way may add one "while ..."
// line. Source: errno(3), sysexits.h for the exit codes.

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace tcpd {

// The closed list of kinds; what a caller may decide on. Everything else is text.
enum class ErrorCode {
    bad_usage,      // the command line
    bad_config,     // a config file
    bad_format,     // bytes that are not what they should be (bundle, slot memory, message)
    not_found,      // a file, a process, a name that is not there
    in_use,         // an address, a pid file that another process holds
    no_permission,  // the caller may not
    exhausted,      // a local limit: descriptors, memory, ports
    timed_out,      // it did not happen in time
    refused,        // the other side said no
    unavailable,    // no such master, no answer
    system,         // any other failed system call
};

struct Error {
    ErrorCode code = ErrorCode::system;
    std::string doing;   // `bind listener "gateway" to`; read after "could not". Empty: `reason` says it all
    std::string on;      // "0.0.0.0:7000"; read after `doing`. Empty: nothing to name
    int sys_errno = 0;   // 0: not a system call
    std::string reason;  // the cause where there is no errno; beside one it stands before the hint
    std::string hint;    // what to do; printed in brackets
    std::string during;  // what a caller was about; read after "while"

    // `could not bind listener "gateway" to 0.0.0.0:7000: Address already in use (stop the other server ...)`
    std::string text() const;
    // `Address already in use` alone.
    std::string cause() const;
    Error&& while_doing(std::string what) &&;
};

// An Error for the errno of a failed system call; EMFILE, ENFILE, ENOBUFS, ENOMEM become `exhausted`, EACCES
// and EPERM `no_permission`, EADDRINUSE `in_use`, ENOENT `not_found`.
Error system_error(int sys_errno, std::string doing, std::string on = {}, std::string hint = {});

// EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL: faults of this machine, never to be blamed on a peer.
bool is_local_fault(int sys_errno);

// A value or an Error.
template <typename T>
class [[nodiscard]] Result {
public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

    explicit operator bool() const { return state_.index() == 0; }
    T& operator*() & { return *std::get_if<0>(&state_); }
    const T& operator*() const& { return *std::get_if<0>(&state_); }
    T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
    T* operator->() { return std::get_if<0>(&state_); }
    const T* operator->() const { return std::get_if<0>(&state_); }
    Error& error() { return *std::get_if<1>(&state_); }
    const Error& error() const { return *std::get_if<1>(&state_); }

private:
    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Error error) : error_(std::move(error)) {}

    explicit operator bool() const { return !error_; }
    Error& error() { return *error_; }
    const Error& error() const { return *error_; }

private:
    std::optional<Error> error_;
};

// Exit codes of the command line, see tcpd(8).
inline constexpr int kExitFine = 0;
inline constexpr int kExitUsage = 64;
inline constexpr int kExitData = 65;
inline constexpr int kExitNoMaster = 69;
inline constexpr int kExitSystem = 71;
inline constexpr int kExitConfig = 78;

}  // namespace tcpd
