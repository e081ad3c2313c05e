# Reference numbers of R's psych::principal for the tests of the phenotype factors.
#
#     Rscript tests/reference/principal.R [DS000030]
#
# DS000030: folder of the OpenNeuro data set ds000030 (with phenotype/). Without it the numbers of
# that table are left as they are. Only loadings, weights and eigenvalues of it are written, nobody's data.
# Made with R 4.2 and psych 2.2.9 (Debian: r-base-core, r-cran-psych).
suppressMessages(library(psych))
here <- dirname(normalizePath(sub("--file=", "", grep("--file=", commandArgs(FALSE), value = TRUE))))
given <- commandArgs(TRUE)

write <- function(matrix, name, what) {
  frame <- data.frame(format(unclass(matrix), digits = 12, trim = TRUE, scientific = FALSE))
  write.table(frame, file.path(here, paste0(name, "_", what, ".tsv")), sep = "\t", quote = FALSE, row.names = FALSE)
}

reference <- function(table, name, with.scores) {
  values <- eigen(cor(table))$values
  fit <- principal(table, nfactors = sum(values > 1), rotate = "varimax", scores = TRUE, method = "regression")
  write(as.matrix(fit$loadings), name, "loadings")
  write(as.matrix(fit$weights), name, "weights")
  write(matrix(fit$values, dimnames = list(NULL, "eigenvalue")), name, "eigenvalues")
  if (with.scores) write(fit$scores, name, "scores")
  cat(name, ":", nrow(table), "people,", ncol(table), "variables,", ncol(fit$weights), "factors\n")
}

for (name in c("four_factors", "thirteen_factors")) {
  reference(read.delim(file.path(here, paste0(name, ".tsv"))), name, TRUE)
}
if (length(given) > 0) {
  wanted <- read.delim(file.path(here, "ds000030_variables.tsv"))
  joined <- NULL
  for (table in unique(wanted$table)) {
    read <- read.delim(file.path(given[1], "phenotype", paste0(table, ".tsv")), na.strings = "n/a")
    read <- read[, c("participant_id", wanted$column[wanted$table == table])]
    joined <- if (is.null(joined)) read else merge(joined, read, by = "participant_id")
  }
  reference(na.omit(joined[, wanted$column]), "ds000030", FALSE)
}
