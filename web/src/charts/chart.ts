import { onBeforeUnmount, onMounted, watch, type Ref } from 'vue'
import { BarChart, LineChart } from 'echarts/charts'
import { AriaComponent, GridComponent, MarkLineComponent, TooltipComponent } from 'echarts/components'
import { init, use, type ComposeOption, type ECharts } from 'echarts/core'
import { CanvasRenderer } from 'echarts/renderers'
import type { BarSeriesOption, LineSeriesOption } from 'echarts/charts'
import type { AriaComponentOption, GridComponentOption, MarkLineComponentOption, TooltipComponentOption } from 'echarts/components'

use([BarChart, LineChart, GridComponent, MarkLineComponent, TooltipComponent, AriaComponent, CanvasRenderer])

export type ChartOption = ComposeOption<BarSeriesOption | LineSeriesOption | GridComponentOption | MarkLineComponentOption | TooltipComponentOption | AriaComponentOption>

/** The colours of the theme that the element stands in. */
export function inks(element: Element) {
  const style = getComputedStyle(element)
  const of = (name: string) => style.getPropertyValue(name).trim()
  return {
    text: of('--text'), secondary: of('--text-2'), line: of('--line'), panel: of('--panel'), raised: of('--raised'), border: of('--border'), font: of('--font'),
    red: of('--red'), orange: of('--orange'), yellow: of('--yellow'), blue: of('--blue'),
    unit: Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / 16,
  }
}

/** Draws `option` into `box` and again whenever it, or the size of the box, changes. */
export function useChart(box: Ref<HTMLElement | undefined>, option: (element: HTMLElement) => ChartOption, changes: () => unknown): void {
  let chart: ECharts | null = null
  let watcher: ResizeObserver | null = null
  const draw = () => {
    if (!box.value || box.value.clientWidth === 0) return
    chart ??= init(box.value, null, { renderer: 'canvas' })
    chart.setOption(option(box.value), { notMerge: true })
  }
  onMounted(() => {
    if (!box.value) return
    draw()
    watcher = new ResizeObserver(() => {
      chart?.resize()
      draw()
    })
    watcher.observe(box.value)
  })
  watch(changes, draw, { flush: 'post' })
  onBeforeUnmount(() => {
    watcher?.disconnect()
    chart?.dispose()
    chart = null
  })
}
