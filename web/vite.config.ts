import { fileURLToPath } from 'node:url'
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'

// The hub (or dev/mock.mjs) that `npm run dev` talks to.
const hub = process.env['ZHONGSHU_HUB'] ?? 'http://127.0.0.1:8080'

export default defineConfig({
  plugins: [vue()],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  server: { proxy: { '/api': hub } },
  build: {
    target: 'es2022',
    // Nothing as data: URLs, so that the content security policy stays narrow.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1200,
    rolldownOptions: {
      output: {
        codeSplitting: {
          // One chunk for each heavy library: a phone that shows tasks never loads map, charts or diagrams.
          groups: [
            { name: 'maplibre', test: /node_modules[\\/](maplibre-gl|@maplibre|@mapbox|earcut|kdbush|pbf|gl-matrix|potpack|quickselect|tinyqueue|murmurhash-js|supercluster|bidi-js)[\\/]/, priority: 30 },
            { name: 'echarts', test: /node_modules[\\/](echarts|zrender)[\\/]/, priority: 30 },
            { name: 'bpmn', test: /node_modules[\\/](bpmn-js|bpmn-moddle|diagram-js|moddle|moddle-xml|saxen|tiny-svg|min-dash|min-dom|didi|ids|hammerjs|path-intersection|object-refs|inherits-browser|component-event|domify|clsx)[\\/]/, priority: 30 },
            { name: 'element', test: /node_modules[\\/](element-plus|@element-plus|@vueuse|lodash-es|lodash-unified|dayjs|async-validator|@floating-ui|@popperjs|@ctrl|memoize-one|normalize-wheel-es)[\\/]/, priority: 20 },
            { name: 'vue', test: /node_modules[\\/](vue|@vue|vue-router|vue-i18n|@intlify|@tanstack|openapi-fetch)[\\/]/, priority: 10 },
          ],
        },
      },
    },
  },
})
