// main() of each test program, and what holds for all of them: orphans of a killed master come to this
// process, a closed socket is an error code, and descriptors suffice.

#define BOOST_TEST_MODULE tcpd
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <boost/test/unit_test.hpp>

namespace {

struct ProcessSettings {
    ProcessSettings() {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        signal(SIGPIPE, SIG_IGN);
        rlimit files{};
        getrlimit(RLIMIT_NOFILE, &files);
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
};

}  // namespace

BOOST_TEST_GLOBAL_FIXTURE(ProcessSettings);
