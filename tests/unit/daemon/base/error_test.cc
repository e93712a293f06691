#include "daemon/base/error.h"

#include <boost/test/unit_test.hpp>
#include <cerrno>

using namespace tcpd;

BOOST_AUTO_TEST_SUITE(error)

BOOST_AUTO_TEST_CASE(text_names_the_attempt_the_object_and_the_cause) {
    Error error = system_error(EADDRINUSE, "bind listener \"gateway\" to", "0.0.0.0:7000",
                               "stop the other server or change listeners.gateway.listen");
    BOOST_TEST(error.text() ==
               "could not bind listener \"gateway\" to 0.0.0.0:7000: Address already in use "
               "(stop the other server or change listeners.gateway.listen)");
}

BOOST_AUTO_TEST_CASE(a_reason_beside_an_errno_stands_before_the_hint) {
    Error error = system_error(EADDRINUSE, "bind to", "0.0.0.0:7000", "stop it");
    error.reason = "held by nginx, pid 4711";
    BOOST_TEST(error.text() ==
               "could not bind to 0.0.0.0:7000: Address already in use (held by nginx, pid 4711; stop it)");
}

BOOST_AUTO_TEST_CASE(parts_that_are_missing_leave_no_trace) {
    BOOST_TEST(system_error(ENOENT, "open").text() == "could not open: No such file or directory");
    BOOST_TEST(system_error(ENOENT, "open").cause() == "No such file or directory");
    Error reason_only;
    reason_only.reason = "port 70000 is over 65535";
    BOOST_TEST(reason_only.text() == "port 70000 is over 65535");
    BOOST_TEST(reason_only.cause() == "port 70000 is over 65535");
    Error without_cause{ErrorCode::timed_out, "reach the master", ""};
    BOOST_TEST(without_cause.text() == "could not reach the master");
    Error reason_and_hint{ErrorCode::unavailable, "find a master", "", 0, "no pid file", "start it first"};
    BOOST_TEST(reason_and_hint.text() == "could not find a master: no pid file (start it first)");
}

BOOST_AUTO_TEST_CASE(a_caller_says_what_it_was_about) {
    Error error = system_error(EIO, "read", "/x").while_doing("starting slot 0");
    BOOST_TEST(error.text() == "could not read /x: Input/output error, while starting slot 0");
}

BOOST_AUTO_TEST_CASE(an_errno_without_a_name_is_a_number) {
    BOOST_TEST(system_error(9999, "x").text() == "could not x: errno 9999");
}

BOOST_AUTO_TEST_CASE(codes_follow_from_errno) {
    for (int exhausted : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
        BOOST_TEST((system_error(exhausted, "x").code == ErrorCode::exhausted));
    }
    BOOST_TEST((system_error(EACCES, "x").code == ErrorCode::no_permission));
    BOOST_TEST((system_error(EPERM, "x").code == ErrorCode::no_permission));
    BOOST_TEST((system_error(EADDRINUSE, "x").code == ErrorCode::in_use));
    BOOST_TEST((system_error(ENOENT, "x").code == ErrorCode::not_found));
    BOOST_TEST((system_error(EIO, "x").code == ErrorCode::system));
}

BOOST_AUTO_TEST_CASE(local_faults_are_this_machine_s) {
    for (int local : {EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL}) BOOST_TEST(is_local_fault(local));
    for (int foreign : {ECONNREFUSED, ECONNRESET, ETIMEDOUT, EHOSTUNREACH})
        BOOST_TEST(!is_local_fault(foreign));
}

BOOST_AUTO_TEST_CASE(a_result_is_a_value_or_an_error) {
    Result<int> good = 3;
    BOOST_TEST(static_cast<bool>(good));
    BOOST_TEST(*good == 3);
    Result<int> bad = system_error(EIO, "x");
    BOOST_TEST(!static_cast<bool>(bad));
    BOOST_TEST(bad.error().sys_errno == EIO);
    Result<void> done;
    BOOST_TEST(static_cast<bool>(done));
    Result<void> failed = system_error(EIO, "x");
    BOOST_TEST(!static_cast<bool>(failed));
}

BOOST_AUTO_TEST_SUITE_END()
