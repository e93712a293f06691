#include "conf/config.h"

#include <algorithm>

#include "daemon/base/process.h"

namespace tcpd::conf {

unsigned Config::worker_count() const { return workers.value_or(std::min(usable_cpus(), kMaxWorkers)); }

}  // namespace tcpd::conf
