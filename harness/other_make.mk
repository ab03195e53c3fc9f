# BSD's make reads this file: only there the variable .PARSEFILE exists, which the Makefile looks at.
.error GNU make is needed: type gmake, or install it (Debian: the package make)
