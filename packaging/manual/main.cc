// Makes tcpd.yaml(5), its second argument, of the page that the first names, with the keys of the grammar where @KEYS@
// stands and the version where @VERSION@ does. Runs at build time.

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
    replace(text, "@VERSION@", tcpd::kVersion);
    std::ofstream page(argv[2]);
    page << text;
    return page.flush() ? 0 : 1;
}
