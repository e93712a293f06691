// Makes a manual page, its second argument, of the one that the first names: the keys of the grammar stand where @KEYS@
// does, what the status counts where @LISTENER_METRICS@ and @SLOT_METRICS@ do, the version where @VERSION@ does. Runs
// at build time.

#include <fstream>
#include <iostream>
#include <sstream>

#include "conf/manual.h"
#include "daemon/base/version.h"

namespace {

void replace(std::string& text, const std::string& mark, const std::string& with) {
    for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + with.size())) {
        text.replace(at, mark.size(), with);
    }
}

void add_metric(std::string& page, std::string_view name, std::string_view help) {
    page.append(".TP\n.B ").append(name).append("\n").append(help).append("\n");
}

// `more`: what stands behind the name of one that has a value for each of several words.
std::string listener_metrics(const std::string& more) {
    std::string page;
#define TCPD_LISTENER_METRIC(name, kind, unit, help) add_metric(page, #name, help);
#define TCPD_LISTENER_METRICS(name, values, places, kind, unit, help) add_metric(page, #name + more, help);
#include "daemon/slot/metrics.def"
    return page;
}

std::string slot_metrics(const std::string& more) {
    std::string page;
#define TCPD_SLOT_METRIC(name, kind, unit, help) add_metric(page, #name, help);
#define TCPD_SLOT_METRICS(name, values, places, kind, unit, help) add_metric(page, #name + more, help);
#include "daemon/slot/metrics.def"
    return page;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return 1;
    std::ifstream file(argv[1]);
    std::stringstream read;
    read << file.rdbuf();
    std::string text = read.str();
    if (text.empty()) {
        std::cerr << "tcpd_manual: could not read the page " << argv[1] << "\n";
        return 1;
    }
    replace(text, "@KEYS@\n", tcpd::conf::manual_keys());
    const std::string more = " \\fIWHICH\\fR";
    replace(text, "@LISTENER_METRICS@\n", listener_metrics(more));
    replace(text, "@SLOT_METRICS@\n", slot_metrics(more));
    replace(text, "@VERSION@", tcpd::kVersion);
    std::ofstream page(argv[2]);
    page << text;
    return page.flush() ? 0 : 1;
}
